; Memory that runs out is an error like any other, and what it leaves behind is collected.
; (To be run with a hard limit: GCRT_MEMLIMIT_HARD=64MiB.)

(define (message thunk) (guard (e (condition-message e)) (thunk)))
(define (endless list) (endless (cons 1 list)))
(define (vectors list) (vectors (cons (make-vector 1000) list)))
(define (texts s) (texts (string-append s s)))

(do ((i 0 (+ i 1))) ((= i 3))
  (check "pairs" (message (lambda () (endless '()))) "out of memory")
  (check "and again" (length (iota 100000)) 100000))
(check "large" (message (lambda () (make-vector 100000000))) "make-vector: out of memory")
(check "vectors" (integer? (string-search (message (lambda () (vectors (quote ())))) "out of memory")) #t)
(check "texts" (message (lambda () (texts "abc"))) "out of memory for a string")
(check "a thread's" (message (lambda () (join (spawn (lambda () (endless '())))))) "out of memory")
(check "and again" (length (iota 100000)) 100000)
(print "memory: ok")

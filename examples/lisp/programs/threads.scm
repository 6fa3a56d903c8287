; Threads share one heap and no lock but those that the program makes.

(define (start n f) (map (lambda (i) (spawn (lambda () (f i)))) (iota n)))
(define (join-all threads) (map join threads))

; Each builds trees of its own.
(define (tree d) (if (zero? d) '() (cons (tree (- d 1)) (tree (- d 1)))))
(define (leaves t) (if (null? t) 1 (+ (leaves (car t)) (leaves (cdr t)))))
(check "trees" (join-all (start 4 (lambda (i) (leaves (tree (+ 8 i))))))
       '(256 512 1024 2048))

; A table takes entries from all.
(define table (make-hash-table))
(join-all (start 4 (lambda (t)
  (do ((i 0 (+ i 1))) ((= i 500))
    (hash-table-set! table (cons t i) (list t i))))))
(check "entries" (hash-table-count table) 2000)
(check "an entry" (hash-table-ref table (cons 3 77)) '(3 77))

; A counter under a mutex, one by compare-and-swap.
(define counter 0)
(define m (make-mutex))
(define cell (box 0))
(define (add-one!)
  (let ((old (unbox cell))) (unless (box-swap! cell old (+ old 1)) (add-one!))))
(join-all (start 4 (lambda (t)
  (do ((i 0 (+ i 1))) ((= i 300))
    (with-mutex m (lambda () (set! counter (+ counter 1))))
    (add-one!)))))
(check "mutex" counter 1200)
(check "swap" (unbox cell) 1200)

; A pipeline: numbers, squares, their sum.
(define numbers (make-channel 4))
(define squares (make-channel 4))
(define adder (spawn (lambda ()
  (let loop ((sum 0))
    (let ((x (channel-take! squares))) (if x (loop (+ sum x)) sum))))))
(define squarer (spawn (lambda ()
  (let loop ()
    (let ((x (channel-take! numbers)))
      (channel-put! squares (and x (* x x)))
      (when x (loop)))))))
(for-each (lambda (i) (channel-put! numbers i)) (iota 500))
(channel-put! numbers #f)
(check "pipeline" (join adder) 41541750)

; Symbols are interned once, whoever asks.
(define (names t) (map (lambda (i) (string->symbol (string-append "s" (number->string i)))) (iota 300)))
(let ((all (join-all (start 4 names))))
  (for-each (lambda (l) (for-each (lambda (a b) (check "symbol" (eq? a b) #t)) l (car all))) all))

; What a thread raises comes out of join; a promise is kept once.
(check "error" (guard (e (condition-irritants e)) (join (spawn (lambda () (error "no" 7))))) '(7))
(define p (delay (list 1)))
(let ((all (join-all (start 4 (lambda (i) (force p))))))
  (for-each (lambda (x) (check "promise" (eq? x (force p)) #t)) all))
(print "threads: ok")

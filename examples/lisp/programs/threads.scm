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

; What a mutex holds is the same for all: a queue of numbers, from two threads to two others.
(define queue '())
(define (put! x) (with-mutex m (lambda () (set! queue (cons x queue)))))
(define (take!)
  (let ((x (with-mutex m (lambda ()
             (if (null? queue) #f (let ((x (car queue))) (set! queue (cdr queue)) x))))))
    (or x (take!))))
(define takers (start 2 (lambda (t) (fold + 0 (map (lambda (i) (take!)) (iota 250))))))
(join-all (start 2 (lambda (t) (for-each put! (iota 250)))))
(check "queue" (fold + 0 (join-all takers)) 62250)
(check "locked twice" (guard (e (condition-message e)) (with-mutex m (lambda () (with-mutex m car))))
       "mutex-lock!: this thread has it already")

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

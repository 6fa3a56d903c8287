; Primes as an endless stream: each prime filters what comes behind it.

(define (integers n) (cons-stream n (integers (+ n 1))))

(define (keep good? s)
  (if (good? (stream-car s))
      (cons-stream (stream-car s) (keep good? (stream-cdr s)))
      (keep good? (stream-cdr s))))

(define (sieve s)
  (let ((p (stream-car s)))
    (cons-stream p (sieve (keep (lambda (n) (not (zero? (remainder n p)))) (stream-cdr s))))))

(define primes (sieve (integers 2)))

(check "first primes" (stream-head primes 10) '(2 3 5 7 11 13 17 19 23 29))
(check "the 400th" (list-ref (stream-head primes 400) 399) 2741)
(print "sieve: ok")

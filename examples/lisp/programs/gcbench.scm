; gcbench, after John Ellis, Pete Kovac and Hans Boehm: short-lived trees of many sizes beside
; a long-lived one.  (arguments: the largest depth; 12 if there is none)

(define max-depth (if (null? arguments) 12 (string->number (car arguments))))

(define (make-tree depth) ; children first
  (if (zero? depth)
      (vector #f #f)
      (vector (make-tree (- depth 1)) (make-tree (- depth 1)))))

(define (populate! depth node) ; parents first: stores into old objects
  (when (> depth 0)
    (vector-set! node 0 (vector #f #f))
    (vector-set! node 1 (vector #f #f))
    (populate! (- depth 1) (vector-ref node 0))
    (populate! (- depth 1) (vector-ref node 1))))

(define (count node)
  (if (vector-ref node 0)
      (+ 1 (count (vector-ref node 0)) (count (vector-ref node 1)))
      1))

(define (nodes depth) (- (expt 2 (+ depth 1)) 1))

(define long-lived (vector #f #f))
(populate! max-depth long-lived)
(define array (make-vector 20000 0))
(do ((i 0 (+ i 1))) ((= i 20000)) (vector-set! array i (* i i)))

(do ((depth 4 (+ depth 2))) ((> depth max-depth))
  (let ((times (quotient (* 2 (nodes max-depth)) (nodes depth))))
    (do ((i 0 (+ i 1))) ((= i times))
      (let ((top-down (vector #f #f)))
        (populate! depth top-down)
        (check "top down" (count top-down) (nodes depth))
        (check "bottom up" (count (make-tree depth)) (nodes depth))))))

(check "long-lived tree" (count long-lived) (nodes max-depth))
(check "array" (vector-ref array 999) 998001)
(print "gcbench: ok")

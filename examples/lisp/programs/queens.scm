; All ways to put n queens on a board so that none attacks another.

(define (queens n)
  (let try ((left (iota n)) (passed '()) (placed '()))
    (if (null? left)
        (if (null? passed) 1 0)
        (+ (if (safe? (car left) 1 placed)
               (try (append passed (cdr left)) '() (cons (car left) placed))
               0)
           (try (cdr left) (cons (car left) passed) placed)))))

(define (safe? row distance placed)
  (or (null? placed)
      (and (not (= (car placed) (+ row distance)))
           (not (= (car placed) (- row distance)))
           (safe? row (+ distance 1) (cdr placed)))))

(check "6 queens" (queens 6) 4)
(check "8 queens" (queens 8) 92)
(print "queens: ok")

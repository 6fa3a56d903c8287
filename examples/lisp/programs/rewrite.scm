; Term rewriting in the manner of Boyer and Moore's nqthm, on which the benchmark nboyer is
; built: terms are lists, rules are kept with the symbol that they rewrite, and a formula is a
; theorem if its normal form is a tautology.  The rules are our own: natural numbers in Peano's
; form, lists, and connectives as (if c a b).

(define rules (make-hash-table))
(define (rule! left right)
  (hash-table-update! rules (car left) (lambda (l) (cons (cons left right) l)) '()))

(for-each (lambda (r) (rule! (car r) (cadr r)))
  '(((and p q) (if p (if q (t) (f)) (f)))
    ((or p q) (if p (t) (if q (t) (f))))
    ((not p) (if p (f) (t)))
    ((implies p q) (if p (if q (t) (f)) (t)))
    ((iff p q) (and (implies p q) (implies q p)))
    ((plus (zero) x) x)
    ((plus (s x) y) (s (plus x y)))
    ((times (zero) x) (zero))
    ((times (s x) y) (plus y (times x y)))
    ((power x (zero)) (s (zero)))
    ((power x (s y)) (times x (power x y)))
    ((less x (zero)) (f))
    ((less (zero) (s x)) (t))
    ((less (s x) (s y)) (less x y))
    ((same x x) (t))
    ((append (nil) x) x)
    ((append (cons x y) z) (cons x (append y z)))
    ((reverse (nil)) (nil))
    ((reverse (cons x y)) (append (reverse y) (cons x (nil))))
    ((length (nil)) (zero))
    ((length (cons x y)) (s (length y)))
    ((if (if a b c) d e) (if a (if b d e) (if c d e)))))

; The bindings under which the pattern is the term, or #f.  Symbols are variables.
(define (match pattern term bindings)
  (cond ((symbol? pattern)
         (let ((b (assq pattern bindings)))
           (cond ((not b) (cons (cons pattern term) bindings))
                 ((equal? (cdr b) term) bindings)
                 (else #f))))
        ((not (pair? term)) #f)
        ((eq? (car pattern) (car term)) (match-all (cdr pattern) (cdr term) bindings))
        (else #f)))

(define (match-all patterns terms bindings)
  (cond ((not bindings) #f)
        ((null? patterns) bindings)
        (else (match-all (cdr patterns) (cdr terms)
                         (match (car patterns) (car terms) bindings)))))

(define (substitute bindings x)
  (if (symbol? x)
      (cdr (assq x bindings))
      (cons (car x) (map (lambda (y) (substitute bindings y)) (cdr x)))))

(define rewrites 0)

(define (rewrite term)
  (if (symbol? term)
      term
      (rewrite-top (cons (car term) (map rewrite (cdr term)))
                   (hash-table-ref rules (car term) '()))))

(define (rewrite-top term candidates)
  (if (null? candidates)
      term
      (let ((bindings (match (caar candidates) term '((end . end)))))
        (if bindings
            (begin (set! rewrites (+ rewrites 1))
                   (rewrite (substitute bindings (cdar candidates))))
            (rewrite-top term (cdr candidates))))))

; Tests of an if are symbols once it is in normal form.
(define (tautology? x true false)
  (cond ((or (equal? x '(t)) (member x true)) #t)
        ((or (equal? x '(f)) (member x false)) #f)
        ((or (symbol? x) (not (eq? (car x) 'if))) #f)
        ((member (cadr x) true) (tautology? (caddr x) true false))
        ((member (cadr x) false) (tautology? (cadddr x) true false))
        ((equal? (cadr x) '(t)) (tautology? (caddr x) true false))
        ((equal? (cadr x) '(f)) (tautology? (cadddr x) true false))
        (else (and (tautology? (caddr x) (cons (cadr x) true) false)
                   (tautology? (cadddr x) true (cons (cadr x) false))))))

(define (theorem? x) (tautology? (rewrite x) '() '()))
(define (number n) (if (zero? n) '(zero) (list 's (number (- n 1)))))
(define (value x) (if (eq? (car x) 's) (+ 1 (value (cadr x))) 0))

(check "transitive"
       (theorem? '(implies (and (implies p q) (and (implies q r) (implies r u))) (implies p u)))
       #t)
(check "contraposition" (theorem? '(iff (implies p q) (implies (not q) (not p)))) #t)
(check "converse" (theorem? '(implies (implies p q) (implies q p))) #f)
(check "distribution"
       (theorem? '(implies (and p (or q (or r u))) (or (and p q) (or (and p r) (and p u))))) #t)
(check "2^8" (value (rewrite (list 'power (number 2) (number 8)))) 256)
(check "5 * 6 < 31"
       (rewrite `(less (times ,(number 5) ,(number 6)) ,(number 31))) '(t))
(check "reverse"
       (rewrite '(same (reverse (append (cons a (cons b (nil))) (cons c (nil))))
                       (cons c (cons b (cons a (nil))))))
       '(t))
(define normal (rewrite '(iff (and p q) (and q p))))
(define before rewrites)
(check "a normal form stays" (list (rewrite normal) (- rewrites before)) (list normal 0))
(print "rewrite: ok")

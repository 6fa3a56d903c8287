; The reader against random texts: it gives data or an error, and what is written is read again.

(define seed (if (null? arguments) 1 (string->number (car arguments))))
(define (random n)
  (set! seed (modulo (+ (* seed 1103515245) 12345) 2147483648))
  (modulo (quotient seed 65536) n))
(define (pick v) (vector-ref v (random (vector-length v))))

(define pieces
  (vector "(" ")" "(" ")" "#(" "'" "`" "," ",@" "." " " "\n" "\"" "\\" "#\\" "#\\x" "#t" "#|" "|#" "#;"
          ";" "1" "-" "25" "1x" "abc" "é" "\\n" "#" "..." "+5" "99999999999999999999"))

(define (random-text n)
  (apply string-append (map (lambda (i) (pick pieces)) (iota n))))

(define (random-datum depth)
  (case (random (if (zero? depth) 8 10))
    ((0) (- (random 2000) 1000))
    ((1) (* (random 1000) 1000000007))
    ((2) (pick (vector "" "a\"b\\c" "ñ→\n" "x y")))
    ((3) (pick (vector #\a #\space #\newline #\x #\( #\;)))
    ((4 5) (pick (vector 'a 'list->vector '+ '... '→)))
    ((6) (pick (vector #t #f '())))
    ((7) 4611686018427387903)
    ((8) (list->vector (random-list depth)))
    (else (let ((l (random-list depth)))
            (if (zero? (random 4)) (append l (random-datum 0)) l)))))
(define (random-list depth)
  (map (lambda (i) (random-datum (- depth 1))) (iota (random 5))))

(define data 0)
(define errors 0)
(do ((i 0 (+ i 1))) ((= i 2000))
  (guard (e (check "an error" (condition? e) #t) (set! errors (+ errors 1)))
    (set! data (+ data (length (read-all (random-text (+ 1 (random 20)))))))))
(check "some of both" (and (> data 100) (> errors 100)) #t)

(do ((i 0 (+ i 1))) ((= i 500))
  (let ((x (random-datum 4)))
    (check "read again" (read-all (->string x #t)) (list x))))
(print "reader: ok")

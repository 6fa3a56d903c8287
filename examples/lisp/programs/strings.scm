; String churn: texts are built, cut, counted and interned; nearly all of it is garbage at once.

(define words '("ash" "birch" "cedar" "élan" "fir" "→oak"))
(define counts (make-hash-table))

(define (line i)
  (string-join (map (lambda (j) (list-ref words (modulo (* i (+ j 1)) 6))) (iota 8)) " "))

(define (split s)
  (let ((at (string-search s " ")))
    (if at
        (cons (substring s 0 at) (split (substring s (+ at 1))))
        (list s))))

(define bytes 0)
(do ((i 0 (+ i 1))) ((= i 2000))
  (let ((text (line i)))
    (set! bytes (+ bytes (string-length text)))
    (for-each (lambda (w) (hash-table-update! counts w (lambda (n) (+ n 1)) 0)) (split text))))

(check "words" (fold + 0 (map cdr (hash-table->list counts))) 16000)
(check "ash" (hash-table-ref counts "ash") 6003)
(check "characters" bytes 76998)
(check "backwards" (list->string (reverse (string->list "abc"))) "cba")

; A symbol that nobody holds any more leaves the table; one that is held is the same again.
(define kept (string->symbol "word-77"))
(do ((i 0 (+ i 1))) ((= i 20000))
  (string->symbol (string-append "word-" (number->string i))))
(check "the same symbol" (eq? kept (string->symbol "word-77")) #t)
(collect)
(collect)
(check "dropped symbols" (< (cadddr (gc-stats)) 1000) #t)
(print "strings: ok")

; Loads the programs named on the command line while another thread collects all the time.

(define collecting #t)
(define collector (spawn (lambda () (let again () (collect) (when collecting (again))))))
(for-each load arguments)
(set! collecting #f)
(join collector)
(print "torture: ok")

; Loads the programs named on the command line while another thread collects all the time.

(spawn (lambda () (let again () (collect) (again))))
(for-each load arguments)
(print "torture: " (< 3 (car (gc-stats))))

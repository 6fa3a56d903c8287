# Each line of a text becomes a C string and a comma.
s/[\\"]/\\&/g
s/.*/"&\\n",/

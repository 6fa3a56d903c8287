# Each line of a text becomes a C string.
s/[\\"]/\\&/g
s/.*/"&\\n"/

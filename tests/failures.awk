# What ctest's LastTest.log tells of the tests that failed, and nothing of the others. Of a program
# that names no failed test (it was killed, or is no GoogleTest) come its last lines.

function show(from, i) {
    if (!told) print "--- " program
    told = 1
    for (i = from; i < count; ++i) print line[i]
    count = 0
}

/^[0-9]+\/[0-9]+ Testing: / { program = $3; count = told = 0; next }
/^\[ RUN / || /^Output:$/ { count = 0 }
{ line[count++] = $0 }
/^\[       OK \]/ { count = 0 }
/^\[  FAILED  \].* ms\)$/ { show(0) }
/^Test Failed/ && !told { show(count > 80 ? count - 80 : 0) }

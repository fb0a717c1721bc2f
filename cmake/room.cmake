# weir_room(NAME SOURCES ... ROOMS ... [LIBRARIES ...] [PRIVATE_LIBRARIES ...])
# One static library for the room NAME. ROOMS are the lower rooms that it may include.
function(weir_room name)
    cmake_parse_arguments(ARG "" "" "SOURCES;ROOMS;LIBRARIES;PRIVATE_LIBRARIES" ${ARGN})
    add_library(weir_${name} STATIC ${ARG_SOURCES})
    add_library(weir::${name} ALIAS weir_${name})
    list(TRANSFORM ARG_ROOMS PREPEND weir::)
    target_link_libraries(weir_${name}
        PUBLIC weir_options ${ARG_ROOMS} ${ARG_LIBRARIES}
        PRIVATE ${ARG_PRIVATE_LIBRARIES})
    weir_reuse(weir_${name} rooms)
endfunction()

# weir_test(NAME SOURCES ... LINK ... [LABELS ...])
# A GoogleTest program whose tests ctest sees one by one.
function(weir_test name)
    cmake_parse_arguments(ARG "" "" "SOURCES;LINK;LABELS" ${ARGN})
    add_executable(${name} ${ARG_SOURCES})
    target_link_libraries(${name} PRIVATE weir_options ${ARG_LINK} GTest::gmock GTest::gtest_main)
    target_include_directories(${name} PRIVATE "${PROJECT_SOURCE_DIR}/tests")
    weir_reuse(${name} tests)
    # Long lists of tests are read once per run; a program is one ctest test, so that a start
    # (sanitizers, TLS, SQLite) is paid once.
    add_test(NAME ${name} COMMAND ${name})
    set_tests_properties(${name} PROPERTIES TIMEOUT 1200 LABELS "${ARG_LABELS}")
endfunction()

# weir_fuzz(NAME SOURCES ... LINK ...): a libFuzzer program in <build>/fuzz, built only with WEIR_FUZZ;
# the target `fuzzers` is all of them. Its seeds, if any, are in tests/*/corpus/NAME.
function(weir_fuzz name)
    cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
    if(WEIR_FUZZ)
        add_executable(${name} ${ARG_SOURCES})
        target_link_libraries(${name} PRIVATE weir_options ${ARG_LINK})
        target_link_options(${name} PRIVATE -fsanitize=fuzzer)
        set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/fuzz")
        if(NOT TARGET fuzzers)
            add_custom_target(fuzzers)
        endif()
        add_dependencies(fuzzers ${name})
    endif()
endfunction()

# Headers that are parsed once, for machines that build all from nothing (./run, CI, the image): about
# half of the time. Off by default, since ccache would then keep nothing.
option(WEIR_PRECOMPILE "Precompile the headers that most files include" OFF)

# With -DCMAKE_UNITY_BUILD=ON files are compiled eight at a time: a third of the time, where sanitizers
# make code that is long to compile. Never for what is shipped or for the preset dev: there a name means
# what it means in its own file.
# weir_alone(FILE...): files that name something as another one of the same room or program does, and
# so cannot be compiled together with it.
function(weir_alone)
    set_source_files_properties(${ARGN} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
endfunction()

# weir_precompiled(NAME HEADER LINK...): gives the target weir_pch_NAME a header that others reuse. It is of
# their kind, since programs and libraries are compiled with different flags.
function(weir_precompiled name header)
    target_link_libraries(weir_pch_${name} PRIVATE weir_options ${ARGN})
    target_precompile_headers(weir_pch_${name} PRIVATE "${PROJECT_SOURCE_DIR}/cmake/pch/${header}")
endfunction()

if(WEIR_PRECOMPILE)
    file(GENERATE OUTPUT "${CMAKE_BINARY_DIR}/pch.cpp" CONTENT "int main() {}\n")
    add_library(weir_pch_rooms STATIC "${CMAKE_BINARY_DIR}/pch.cpp")
    weir_precompiled(rooms rooms.hpp Boost::headers fmt::fmt)
    if(WEIR_TESTS)
        add_executable(weir_pch_tests "${CMAKE_BINARY_DIR}/pch.cpp")
        weir_precompiled(tests tests.hpp weir::base fmt::fmt GTest::gmock)
    endif()
endif()

# weir_reuse(TARGET NAME): compiles TARGET with the headers of NAME, if there are any.
function(weir_reuse target name)
    if(TARGET weir_pch_${name})
        target_precompile_headers(${target} REUSE_FROM weir_pch_${name})
    endif()
endfunction()

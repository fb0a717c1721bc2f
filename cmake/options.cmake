# One interface target carries the language level, the warnings and the hardening of every room.
add_library(weir_options INTERFACE)
target_compile_features(weir_options INTERFACE cxx_std_23)
target_include_directories(weir_options INTERFACE "${PROJECT_SOURCE_DIR}/include")
target_compile_options(weir_options INTERFACE
    -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wnon-virtual-dtor -Wold-style-cast
    -fstack-protector-strong)
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    target_compile_options(weir_options INTERFACE -Wthread-safety)
endif()
if(WEIR_WERROR)
    target_compile_options(weir_options INTERFACE -Werror)
endif()
target_compile_definitions(weir_options INTERFACE
    WEIR_VERSION="${PROJECT_VERSION}"
    BOOST_ASIO_NO_DEPRECATED
    BOOST_ASIO_SEPARATE_COMPILATION
    # What a worker keeps of operations for the next ones; Asio's own 2 are too few.
    BOOST_ASIO_RECYCLING_ALLOCATOR_CACHE_SIZE=8
    # Frames of coroutines come from the allocator (docs/adr/0021-what-is-shipped.md): Asio keeps none
    # above 1,020 bytes, and asks for the others with an alignment that makes malloc slow.
    BOOST_ASIO_DISABLE_AWAITABLE_FRAME_RECYCLING
    BOOST_BEAST_SEPARATE_COMPILATION)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
target_link_options(weir_options INTERFACE -Wl,-z,relro,-z,now)

if(WEIR_SANITIZE)
    target_compile_options(weir_options INTERFACE
        -fsanitize=${WEIR_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
    target_link_options(weir_options INTERFACE -fsanitize=${WEIR_SANITIZE})
    # Recycled coroutine frames would hide a use after free.
    target_compile_definitions(weir_options INTERFACE BOOST_ASIO_DISABLE_SMALL_BLOCK_RECYCLING)
else()
    target_compile_definitions(weir_options INTERFACE
        $<$<CONFIG:Release,RelWithDebInfo>:_GLIBCXX_ASSERTIONS>
        $<$<CONFIG:Release,RelWithDebInfo>:_FORTIFY_SOURCE=3>)
endif()
if(WEIR_FUZZ)
    target_compile_options(weir_options INTERFACE -fsanitize=fuzzer-no-link)
endif()
add_link_options(-fuse-ld=lld -pie)

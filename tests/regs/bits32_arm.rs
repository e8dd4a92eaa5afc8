//! 32-bit programs on aarch64, where its CPU and its kernel have them.

crate::tests![];

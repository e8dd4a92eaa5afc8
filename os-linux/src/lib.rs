//! trapline-os-linux

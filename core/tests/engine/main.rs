//! The engine against the model of a kernel, clause by clause.

mod common;

mod e2_forks;

//! The filter.

use std::collections::BTreeMap;

use seccompiler::{BackendError, BpfProgram, SeccompAction, SeccompFilter, TargetArch};
use trapline::os::linux::BpfInstruction;

/// `BPF_RET | BPF_K` of `linux/filter.h`: the end of a filter, with its verdict.
const RETURN: u16 = 0x06;
/// Verdicts of `linux/seccomp.h`.
const KILL_PROCESS: u32 = 0x8000_0000;
const ALLOW: u32 = 0x7fff_0000;

/// Stops at the calls with these numbers, of the 64-bit ABI, and lets all others through.
pub(crate) fn stop_at(numbers: &[i64]) -> Result<Vec<BpfInstruction>, BackendError> {
    let rules: BTreeMap<_, _> = numbers.iter().map(|&number| (number, Vec::new())).collect();
    let (others, these) = (SeccompAction::Allow, SeccompAction::Trace(0));
    let filter = SeccompFilter::new(rules, others, these, TargetArch::x86_64)?;
    let program = BpfProgram::try_from(filter)?;
    let mut program: Vec<_> = program
        .iter()
        .map(|i| BpfInstruction { code: i.code, jt: i.jt, jf: i.jf, k: i.k })
        .collect();
    // A filter that confines kills a program of another ABI; this one is not to, only not see it.
    for verdict in program.iter_mut().filter(|i| i.code == RETURN && i.k == KILL_PROCESS) {
        verdict.k = ALLOW;
    }
    Ok(program)
}

//! Instructions that compilers make, executed in place and away from it: the same registers, flags
//! and memory (M1).
//!
//! The instructions are those at the starts of functions and lines in the libraries of this machine
//! and in this test itself. A child executes them under ptrace, on random registers and memory.
//!
//! `TRAPLINE_LONG=1` executes all of them, and all others in those libraries; otherwise it is a
//! sample.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod branches;
mod compare;
mod cpu;
mod instructions;
mod modules;
mod random;
mod trial;

use std::collections::HashMap;
use std::io::Write;

use trapline_core::CodeMode;

use instructions::Instructions;
use modules::Module;

/// Whether to do it at length.
fn at_length() -> bool {
    std::env::var_os("TRAPLINE_LONG").is_some_and(|value| value == "1")
}

/// Says something that `cargo test` shows although the test passes.
fn say(test: &str, what: &str) {
    let _ = writeln!(std::io::stdout(), "{test}: {what}");
}

/// Relocates what is in a module, compares each slot's code with the original, and keeps what can
/// be executed.
fn relocate_all(test: &str, modules: &[Module]) -> Instructions {
    let mut all = Instructions::default();
    for module in modules {
        let before = (all.places, all.refused());
        for addr in module.places(at_length()) {
            all.add(module, addr);
        }
        let (places, refused) = (all.places - before.0, all.refused() - before.1);
        say(test, &format!("{}: {places} places, {refused} refused", module.name));
    }
    say(
        test,
        &format!(
            "{} places, {} different, {:?} refused",
            all.places,
            all.unique.len(),
            all.refusals
        ),
    );
    all
}

fn execute_all(test: &str, all: &Instructions, mode: CodeMode) {
    let (most, rounds) = if at_length() { (usize::MAX, 3) } else { (4000, 2) };
    let counts: HashMap<_, _> = compare::execute(all.sample(most), mode, rounds);
    say(test, &format!("executed: {counts:?}"));
}

#[test]
fn m1_instructions_do_away_from_their_place_what_they_do_in_it() {
    let test = "m1_instructions_do_away_from_their_place_what_they_do_in_it";
    let mut modules = vec![Module::this_test(), Module::libc()];
    modules.extend(Module::find(
        &["/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib"],
        "libstdc++.so.6",
    ));
    let java = Module::find_java();
    if java.is_empty() {
        say(test, "SKIPPED: there is no libjvm here");
    }
    modules.extend(java);
    let all = relocate_all(test, &modules);
    assert!(all.refused() * 1000 < all.places, "{:?}", all.refusals);
    execute_all(test, &all, CodeMode::Bits64);
}

/// What compilers hardly ever put at the start of a line.
#[test]
fn m1_special_instructions_do_away_from_their_place_what_they_do_in_it() {
    let both: [&[u8]; 15] = [
        &[0x0f, 0x0b],                         // ud2
        &[0xf4],                               // hlt
        &[0xcd, 0x80],                         // int 0x80
        &[0x9c],                               // pushf
        &[0x9d],                               // popf
        &[0x8e, 0xd0],                         // mov ss, eax
        &[0xf3, 0xa4],                         // rep movsb
        &[0xf2, 0xae],                         // repne scasb
        &[0xf3, 0x65, 0xa5],                   // rep movsd from gs
        &[0xd7],                               // xlatb
        &[0xc8, 8, 0, 2],                      // enter 8, 2
        &[0xd9, 0x30],                         // fnstenv [rax]
        &[0xdb, 0xe3],                         // fninit
        &[0x0f, 0xae, 0x00],                   // fxsave [rax]
        &[0xc4, 0xe2, 0x75, 0x90, 0x04, 0x90], // vpgatherdd ymm0, [rax + ymm2 * 4], ymm1
    ];
    let only_64: [&[u8]; 8] = [
        &[0x0f, 0x05],                               // syscall
        &[0x48, 0x0f, 0x05],                         // syscall
        &[0x66, 0x66, 0x48, 0xe8, 0, 0, 0, 0],       // call, with prefixes
        &[0x67, 0xe8, 0, 0, 0, 0],                   // call, with a prefix
        &[0x67, 0x8b, 0x05, 0, 0, 0, 0],             // mov eax, [eip]
        &[0x67, 0xff, 0x25, 0, 0, 0, 0],             // jmp [eip]
        &[0x48, 0x0f, 0xc7, 0x08],                   // cmpxchg16b [rax]
        &[0x64, 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0], // mov rax, fs:[0]
    ];
    let rounds = 50;
    compare::execute([&both[..], &only_64].concat(), CodeMode::Bits64, rounds);
    compare::execute(both.to_vec(), CodeMode::Bits32, rounds);
}

#[test]
fn m1_instructions_of_32_bit_code_do_away_from_their_place_what_they_do_in_it() {
    let test = "m1_instructions_of_32_bit_code_do_away_from_their_place_what_they_do_in_it";
    let folders = ["/usr/lib32", "/lib32", "/usr/lib/i386-linux-gnu"];
    let mut modules = Module::find(&folders, "libstdc++.so.6");
    modules.extend(Module::find(&folders, "libc.so.6"));
    if modules.is_empty() {
        say(test, "SKIPPED: there is no library of 32 bits here");
        return;
    }
    let all = relocate_all(test, &modules);
    assert!(all.refused() * 1000 < all.places, "{:?}", all.refusals);
    execute_all(test, &all, CodeMode::Bits32);
}

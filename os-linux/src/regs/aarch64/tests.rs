use super::*;

#[test]
fn registers_survive_the_way_there_and_back() {
    let mut registers = Registers::default();
    for (i, name) in Registers::NAMES.iter().enumerate() {
        assert!(registers.set(name, i as u64 + 1));
    }
    assert_eq!(from_kernel(&to_kernel(&registers)), registers);
    let stepped = Raw { pstate: 0x6020_0000, ..to_kernel(&registers) };
    assert_eq!(from_kernel(&stepped).pstate, 0x6000_0000);
}

#[test]
fn registers_of_32_bit_programs_are_in_the_same_places() {
    let mut raw = Raw { regs: [0; 31], sp: 0, pc: 0, pstate: 0 };
    for index in 0..18 {
        raw.regs[index / 2] |= (index as u64 + 1) << (32 * (index % 2));
    }
    raw.regs[8] = 0x12_0000_0010; // CPSR of user mode
    let wide = narrow::widened(&raw);
    assert_eq!((wide.regs[0], wide.regs[14], wide.sp, wide.pc), (1, 15, 14, 16));
    assert!(!is_native(&wide));
    assert_eq!(narrow::narrowed(&wide).regs, raw.regs);
}

#[test]
fn floating_point_registers_of_32_bit_programs_are_two_in_one() {
    let bytes: Vec<u8> = (0..narrow::FP_LENGTH).map(|at| at as u8).collect();
    let registers = narrow::widened_fp(&bytes);
    assert_eq!(registers.v[15].to_le_bytes(), *bytes[240..].first_chunk().unwrap());
    assert_eq!(registers.v[16], 0);
    assert_eq!(registers.fpsr | registers.fpcr, u32::from_le_bytes([0, 1, 2, 3]));
    assert_eq!(narrow::narrowed_fp(&registers), bytes);
}

#[test]
fn the_call_that_made_a_task_is_seen_in_the_registers() {
    let with = |number: u64, pstate| {
        let mut raw = Raw { regs: [0; 31], sp: 0, pc: 0, pstate };
        (raw.regs[0], raw.regs[7], raw.regs[8]) = (17, number, number);
        clone_call(&raw)
    };
    assert_eq!(with(220, 0), CloneCall::Clone(17));
    assert_eq!(with(435, 0), CloneCall::Clone3(17));
    assert_eq!(with(120, 0), CloneCall::Other);
    assert_eq!(with(120, 0x10), CloneCall::Clone(17));
    assert_eq!([with(2, 0x10), with(190, 0x10)], [CloneCall::Fork; 2]);
}

#[test]
fn a_child_stands_behind_the_call_of_its_maker_at_its_first_stop() {
    let mut child = Raw { regs: [0; 31], sp: 0, pc: 0x1004, pstate: 0 };
    child.regs[8] = libc::SYS_clone as u64;
    assert!(is_behind_its_birth(&child, true));
    assert!(!is_behind_its_birth(&child, false));
    let [mut creator, mut other] = [child; 2];
    creator.regs[0] = 7;
    other.regs[8] = libc::SYS_getpid as u64;
    for raw in [creator, other, Raw { pstate: 0x10, ..child }] {
        assert!(!is_behind_its_birth(&raw, true));
    }
    let made = calling(&child, libc::SYS_prctl, [3, 4]);
    assert_eq!((made.pc, made.regs[8], made.regs[0], made.regs[1]), (0x1000, 167, 3, 4));
}

#[test]
fn a_call_is_read_from_its_line() {
    let line = "63 0x3 0xfff0 0x8 0x0 0x1 0xffffffffffffffff 0xffff1000 0xffff2000\n";
    let call = call_in(line, 0xc000_00b7, Some(Ok(8))).unwrap();
    assert_eq!((call.number, call.args), (63, [3, 0xfff0, 8, 0, 1, u64::MAX]));
    assert_eq!(call.result, Some(Ok(8)));
    for none in ["running\n", "-1 0xffff1000 0xffff2000\n", "", "63 0x3"] {
        assert_eq!(call_in(none, 0xc000_00b7, None), None, "{none}");
    }
}

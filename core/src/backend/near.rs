//! Where to look for room near a program's code.

/// How far from a place its memory is looked for, at first below it: what grows upwards from a
/// program, its heap, is not to be in the way.
const DISTANCES: [i64; 14] = [
    -(16 << 20),
    -(32 << 20),
    -(64 << 20),
    -(96 << 20),
    64 << 20,
    96 << 20,
    -(256 << 20),
    -(512 << 20),
    512 << 20,
    768 << 20,
    -(1 << 30),
    1 << 30,
    -(3 << 29),
    3 << 29,
];

/// What no program has, so that a null pointer faults.
const LOWEST: u64 = 1 << 20;

/// Addresses of pages less than `reach` from `near`, for [`map_code`](super::Backend::map_code) to
/// try in turn.
pub fn pages_near(near: u64, reach: u64) -> impl Iterator<Item = u64> {
    let page = move |distance| near.checked_add_signed(distance).map(|addr| addr & !0xfff);
    let fits = move |&addr: &u64| addr >= LOWEST && addr.abs_diff(near) < reach;
    DISTANCES.into_iter().filter_map(page).filter(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_within_reach_and_never_the_lowest() {
        let pages: Vec<u64> = pages_near(0x40_1234, 1 << 27).collect();
        assert_eq!(pages, [0x440_1000, 0x640_1000]);
        assert!(pages_near(0x5555_5555_4321, 1 << 31).count() > 10);
        assert_eq!(pages_near(u64::MAX, 1 << 31).next(), Some((u64::MAX - 0x100_0000) & !0xfff));
    }
}

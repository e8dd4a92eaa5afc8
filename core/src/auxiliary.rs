//! The auxiliary vector.

/// `AT_PHENT` of `elf.h`: the length of a program header, which every program is told, and which
/// depends on its width.
const AT_PHENT: u32 = 4;
const AT_NULL: u32 = 0;
const PROGRAM_HEADER_64: u64 = 56;
const PROGRAM_HEADER_32: u64 = 32;

/// `AT_ENTRY`: where the program itself begins.
pub(crate) const AT_ENTRY: u64 = 9;

/// The value of one type.
pub(crate) fn value(vector: &[u8], wanted: u64) -> Option<u64> {
    entries(vector).into_iter().find_map(|(kind, value)| (kind == wanted).then_some(value))
}

/// Types and values of a vector in the format of a 64-bit or a 32-bit program; up to `AT_NULL`.
pub(crate) fn entries(vector: &[u8]) -> Vec<(u64, u64)> {
    let narrow = has(entries_of::<4>(vector), PROGRAM_HEADER_32)
        && !has(entries_of::<8>(vector), PROGRAM_HEADER_64);
    let up_to_the_end = |&(kind, _): &(u32, u64)| kind != AT_NULL;
    let wide = |(kind, value): (u32, u64)| (u64::from(kind), value);
    match narrow {
        true => entries_of::<4>(vector).take_while(up_to_the_end).map(wide).collect(),
        false => entries_of::<8>(vector).take_while(up_to_the_end).map(wide).collect(),
    }
}

/// Whether the entries are those of a 32-bit program.
pub(crate) fn is_narrow(entries: &[(u64, u64)]) -> bool {
    entries.contains(&(AT_PHENT.into(), PROGRAM_HEADER_32))
}

fn has(mut entries: impl Iterator<Item = (u32, u64)>, header: u64) -> bool {
    entries.any(|entry| entry == (AT_PHENT, header))
}

/// The entries, if a word has `N` bytes. On FreeBSD a type has 4 in any case, and what fills the word
/// up means nothing.
fn entries_of<const N: usize>(vector: &[u8]) -> impl Iterator<Item = (u32, u64)> + '_ {
    vector.chunks_exact(2 * N).filter_map(|entry| {
        let (kind, value) = entry.split_at(N);
        let kind = u32::from_ne_bytes(*kind.first_chunk()?);
        let value = match value.first_chunk() {
            Some(value) => u64::from_ne_bytes(*value),
            None => u32::from_ne_bytes(*value.first_chunk()?).into(),
        };
        Some((kind, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRIES: [(u32, u32); 5] =
        [(3, 0x0804_8034), (4, 0), (9, 0x0804_8054), (6, 4096), (0, 0)];

    fn vector(width: usize, header: u32) -> Vec<u8> {
        let value = |(kind, value): (u32, u32)| [kind, if kind == 4 { header } else { value }];
        let word = |word: u32| match width {
            8 => u64::from(word).to_ne_bytes().to_vec(),
            _ => word.to_ne_bytes().to_vec(),
        };
        ENTRIES.into_iter().flat_map(value).flat_map(word).collect()
    }

    fn expected(header: u64) -> Vec<(u64, u64)> {
        vec![(3, 0x0804_8034), (4, header), (9, 0x0804_8054), (6, 4096)]
    }

    #[test]
    fn words_are_as_wide_as_the_program() {
        assert_eq!(entries(&vector(8, 56)), expected(56));
        assert_eq!(entries(&vector(4, 32)), expected(32));
        // Linux ends that of a 32-bit program by a word more than it has.
        let longer = [vector(4, 32), vec![0; 8]].concat();
        assert_eq!(entries(&longer), expected(32));
    }

    #[test]
    fn what_fills_up_a_type_does_not_count() {
        let mut vector = vector(8, 56);
        for entry in vector.chunks_exact_mut(16) {
            entry[4..8].fill(0xa5);
        }
        assert_eq!(entries(&vector), expected(56));
    }

    #[test]
    fn what_is_no_vector_is_no_harm() {
        for len in 0..40 {
            let _ = entries(&vec![0xff; len]);
        }
        assert_eq!(entries(&[]), []);
    }
}

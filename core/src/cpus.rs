//! Sets of CPUs.

use std::fmt;

/// Some of the machine's CPUs, by their numbers, from 0 on.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct CpuSet {
    /// One bit for each, without zeros at the end.
    words: Vec<u64>,
}

impl CpuSet {
    /// One CPU.
    pub fn one(cpu: u32) -> Self {
        let mut words = vec![0; cpu as usize / 64 + 1];
        if let Some(last) = words.last_mut() {
            *last = 1 << (cpu % 64);
        }
        CpuSet { words }
    }

    /// From the kernels' form: a bit for each CPU, the lowest first.
    pub fn from_words(words: &[u64]) -> Self {
        let used = words.iter().rposition(|&word| word != 0).map_or(0, |last| last + 1);
        CpuSet { words: words.iter().take(used).copied().collect() }
    }

    /// The same form, without zeros at the end.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Whether this CPU is one of them.
    pub fn contains(&self, cpu: u32) -> bool {
        let word = self.words.get(cpu as usize / 64);
        word.is_some_and(|word| word >> (cpu % 64) & 1 == 1)
    }

    /// Their numbers, rising.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.words.len() as u32 * 64).filter(|&cpu| self.contains(cpu))
    }
}

impl FromIterator<u32> for CpuSet {
    fn from_iter<I: IntoIterator<Item = u32>>(cpus: I) -> Self {
        let mut words = Vec::new();
        for cpu in cpus {
            let at = cpu as usize / 64;
            if words.len() <= at {
                words.resize(at + 1, 0);
            }
            if let Some(word) = words.get_mut(at) {
                *word |= 1 << (cpu % 64);
            }
        }
        CpuSet { words }
    }
}

impl fmt::Debug for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::CpuSet;

    #[test]
    fn numbers_and_words() {
        let set: CpuSet = [130, 0, 63, 64].into_iter().collect();
        assert_eq!(set.words(), [1 | 1 << 63, 1, 4]);
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 63, 64, 130]);
        assert_eq!(CpuSet::from_words(&[1 | 1 << 63, 1, 4, 0, 0]), set);
        assert!(set.contains(64) && !set.contains(65) && !set.contains(100_000));
        assert_eq!(CpuSet::one(64), [64].into_iter().collect());
        assert!(CpuSet::from_words(&[0]).is_empty() && CpuSet::default().is_empty());
    }
}

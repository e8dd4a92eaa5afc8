//! Places that are near each other, which are read and written at once.

/// How far apart places may be that are read and written at once: a page.
const NEAR: u64 = 4096;
/// How much is read or written at once.
const SPAN: u64 = 64 * NEAR;

/// Cuts a list that is ordered by address into runs of what is near each other.
pub(crate) fn runs<T>(list: &[T], addr: impl Fn(&T) -> u64) -> Vec<&[T]> {
    let mut runs = Vec::new();
    let mut rest = list;
    while let Some(first) = rest.first() {
        let (start, mut last) = (addr(first), addr(first));
        let near = rest.iter().take_while(|item| {
            let at = addr(item);
            let fits = at - last <= NEAR && at - start < SPAN;
            last = at;
            fits
        });
        let (run, others) = rest.split_at(near.count().max(1));
        runs.push(run);
        rest = others;
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::runs;

    #[test]
    fn what_is_near_is_one_run() {
        let list = [1, 2, 4000, 8096, 12193, 12194];
        let cut = runs(&list, |&addr| addr);
        assert_eq!(cut, [&[1, 2, 4000, 8096][..], &[12193, 12194]]);
        assert!(runs(&[] as &[u64], |&addr| addr).is_empty());
    }

    #[test]
    fn a_run_is_no_longer_than_can_be_read_at_once() {
        let list: Vec<u64> = (0..200).map(|i| i * 4096).collect();
        let lengths: Vec<usize> = runs(&list, |&addr| addr).iter().map(|run| run.len()).collect();
        assert_eq!(lengths, [64, 64, 64, 8]);
    }
}

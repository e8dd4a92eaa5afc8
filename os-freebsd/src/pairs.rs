//! The two reports of a fork.

use std::collections::VecDeque;

/// Children whose parent's report is waited for, at most.
const MOST_EARLY: usize = 1024;

/// The new processes that one report of the two is still to come of. They come in either order,
/// and the parent's not at all if its process ends meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Pairs {
    /// The parent's came. The child is about to stop.
    pub(crate) awaited: Vec<i32>,
    /// The child's came, and it may have ended since.
    early: VecDeque<i32>,
}

impl Pairs {
    /// A child's first stop.
    pub(crate) fn child(&mut self, child: i32) {
        match self.awaited.iter().position(|&pid| pid == child) {
            Some(at) => {
                self.awaited.swap_remove(at);
            }
            None => {
                self.early.push_back(child);
                if self.early.len() > MOST_EARLY {
                    self.early.pop_front(); // its parent's report does not come any more
                }
            }
        }
    }

    /// A parent's report. Says whether the child's was there before.
    pub(crate) fn parent(&mut self, child: i32) -> bool {
        match self.early.iter().position(|&pid| pid == child) {
            Some(at) => self.early.remove(at).is_some(),
            None => {
                self.awaited.push(child);
                false
            }
        }
    }
}

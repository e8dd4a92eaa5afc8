//! Every way through a tree of choices, one after the other.

use std::cell::RefCell;
use std::rc::Rc;

/// A way through a tree of choices. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Path(Rc<RefCell<Inner>>);

#[derive(Default)]
struct Inner {
    /// What was taken, of how many.
    choices: Vec<(usize, usize)>,
    at: usize,
}

impl Path {
    /// A way that takes these choices, of as many as there are, and the first of each after them.
    pub(crate) fn of(choices: &[usize]) -> Self {
        let choices = choices.iter().map(|&choice| (choice, usize::MAX)).collect();
        Path(Rc::new(RefCell::new(Inner { choices, at: 0 })))
    }

    /// One of `n` possibilities.
    pub(crate) fn choose(&self, n: usize) -> usize {
        if n <= 1 {
            return 0;
        }
        let mut inner = self.0.borrow_mut();
        let at = inner.at;
        inner.at += 1;
        match inner.choices.get_mut(at) {
            Some((taken, of)) => {
                *of = n;
                *taken %= n;
                *taken
            }
            None => {
                inner.choices.push((0, n));
                0
            }
        }
    }

    /// Whether what comes now was not taken before.
    pub(crate) fn is_new(&self) -> bool {
        let inner = self.0.borrow();
        inner.at >= inner.choices.len()
    }

    /// Goes back to the start, to take the next way; false if there is none.
    pub(crate) fn next(&self) -> bool {
        let mut inner = self.0.borrow_mut();
        let at = inner.at;
        inner.choices.truncate(at);
        inner.at = 0;
        while let Some((taken, of)) = inner.choices.pop() {
            if taken + 1 < of {
                inner.choices.push((taken + 1, of));
                return true;
            }
        }
        false
    }

    /// The choices so far, to take the same way again.
    pub(crate) fn choices(&self) -> Vec<usize> {
        let inner = self.0.borrow();
        inner.choices.iter().take(inner.at).map(|&(taken, _)| taken).collect()
    }
}

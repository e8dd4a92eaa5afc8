//! A list whose places are used again, and handles that know it.

use std::marker::PhantomData;

/// Names one value of an [`Arena`], and never the one that has its place later. `K` tells the handles
/// of one arena from those of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Handle<K> {
    index: u32,
    generation: u32,
    kind: PhantomData<K>,
}

/// A process in the table.
pub(crate) type ProcessHandle = Handle<OfProcess>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OfProcess {}

/// Values that stay where they are until they are taken out.
pub(crate) struct Arena<T, K> {
    entries: Vec<Entry<T>>,
    free: Vec<u32>,
    kind: PhantomData<K>,
}

struct Entry<T> {
    /// How many values were taken out of here.
    generation: u32,
    value: Option<T>,
}

impl<T, K> Default for Arena<T, K> {
    fn default() -> Self {
        Arena { entries: Vec::new(), free: Vec::new(), kind: PhantomData }
    }
}

impl<T, K: Copy> Arena<T, K> {
    pub(crate) fn insert(&mut self, value: T) -> Handle<K> {
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                make_room(&mut self.entries);
                self.entries.push(Entry { generation: 0, value: None });
                (self.entries.len() - 1) as u32
            }
        };
        let entry = &mut self.entries[index as usize];
        entry.value = Some(value);
        Handle { index, generation: entry.generation, kind: PhantomData }
    }

    /// The value, unless it was taken out.
    #[inline]
    pub(crate) fn get(&self, handle: Handle<K>) -> Option<&T> {
        let entry = self.entries.get(handle.index as usize)?;
        entry.value.as_ref().filter(|_| entry.generation == handle.generation)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, handle: Handle<K>) -> Option<&mut T> {
        let entry = self.entries.get_mut(handle.index as usize)?;
        entry.value.as_mut().filter(|_| entry.generation == handle.generation)
    }

    /// Takes a value out: from now on its handle names nothing.
    pub(crate) fn remove(&mut self, handle: Handle<K>) -> Option<T> {
        self.get(handle)?;
        let entry = self.entries.get_mut(handle.index as usize)?;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(handle.index);
        entry.value.take()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Handle<K>, &T)> {
        self.entries.iter().enumerate().filter_map(|(index, entry)| {
            let (index, generation) = (index as u32, entry.generation);
            Some((Handle { index, generation, kind: PhantomData }, entry.value.as_ref()?))
        })
    }
}

/// Lets a list grow by a quarter where it would double: of many idle tracees it is most of what
/// they take.
pub(crate) fn make_room<T>(list: &mut Vec<T>) {
    if list.len() == list.capacity() {
        list.reserve_exact(list.len() / 4 + 8);
    }
}

#[cfg(test)]
mod tests {
    use super::Arena;

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Word {}

    #[test]
    fn a_handle_names_one_value_and_not_the_next_at_its_place() {
        let mut arena = Arena::<&str, Word>::default();
        let (one, two) = (arena.insert("one"), arena.insert("two"));
        assert_eq!((arena.get(one), arena.get(two)), (Some(&"one"), Some(&"two")));
        assert_eq!(arena.remove(one), Some("one"));
        assert_eq!(arena.get(one), None);
        assert_eq!(arena.remove(one), None);
        let three = arena.insert("three");
        assert_eq!(arena.get(one), None);
        assert_eq!(arena.get_mut(one), None);
        assert_eq!((arena.get(two), arena.get(three)), (Some(&"two"), Some(&"three")));
        assert_eq!(arena.iter().map(|(handle, _)| handle).collect::<Vec<_>>(), [three, two]);
    }
}

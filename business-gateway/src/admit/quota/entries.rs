//! A list that needs no memory of its own while it is short: few calls have more limits than fit.

/// So many fit.
const FEW: usize = 4;

/// The list.
#[derive(Debug)]
pub(super) struct Entries<T> {
    few: [Option<T>; FEW],
    more: Vec<T>,
}

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self { few: [const { None }; FEW], more: Vec::new() }
    }
}

impl<T> Entries<T> {
    pub(super) fn push(&mut self, entry: T) {
        match self.few.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some(entry),
            None => self.more.push(entry),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.few.iter().flatten().chain(&self.more)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.few.iter_mut().flatten().chain(&mut self.more)
    }

    pub(super) fn get(&self, position: usize) -> Option<&T> {
        self.iter().nth(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_order_whatever_the_length() {
        let mut entries = Entries::default();
        for n in 0..10 {
            entries.push(n);
        }
        entries.iter_mut().for_each(|n| *n += 1);
        assert_eq!(entries.iter().copied().collect::<Vec<_>>(), (1..11).collect::<Vec<_>>());
        assert_eq!((entries.get(3), entries.get(4), entries.get(10)), (Some(&4), Some(&5), None));
    }
}

/// Things by number. A number is an index and a generation, so that one is not taken for another that came later.
#[derive(Debug)]
pub(super) struct Slab<T> {
    slots: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Slab {
            slots: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T> Slab<T> {
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn insert(&mut self, value: T) -> u64 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push((0, None));
            u32::try_from(self.slots.len() - 1).expect("the limit of dialogs is below 2^32")
        });
        let slot = &mut self.slots[index as usize];
        slot.0 = slot.0.wrapping_add(1);
        slot.1 = Some(value);
        u64::from(slot.0) << 32 | u64::from(index)
    }

    pub(super) fn get(&self, id: u64) -> Option<&T> {
        let (generation, value) = self.slots.get(id as u32 as usize)?;
        value.as_ref().filter(|_| *generation == (id >> 32) as u32)
    }

    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut T> {
        let (generation, value) = self.slots.get_mut(id as u32 as usize)?;
        value.as_mut().filter(|_| *generation == (id >> 32) as u32)
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<T> {
        self.get(id)?;
        self.free.push(id as u32);
        self.slots[id as u32 as usize].1.take()
    }
}

//! The connections that there are. When there are as many as there may be, the oldest one without a request under way
//! makes room: thousands of idle ones do not keep a client out.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::telemetry::METRICS;
use crate::telemetry::metrics::Held;

/// All connections.
#[derive(Debug)]
pub(super) struct Connections {
    most: usize,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    /// In the order in which they came.
    slots: BTreeMap<u64, Slot>,
}

#[derive(Clone, Debug, Default)]
struct Slot {
    /// Requests under way.
    busy: Arc<AtomicUsize>,
    leave: CancellationToken,
}

/// A connection's place; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    connections: Arc<Connections>,
    number: u64,
    slot: Slot,
    _counted: Held,
}

/// Keeps a connection from being asked to make room.
#[derive(Debug)]
pub(super) struct Busy(Arc<AtomicUsize>);

impl Connections {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, table: Mutex::default() })
    }

    /// A place for a new connection, if need be that of an idle one; none when all are busy.
    pub(super) fn admit(self: &Arc<Self>) -> Option<Place> {
        let mut table = self.table();
        if table.slots.len() >= self.most && !make_room(&mut table) {
            return None;
        }
        let (number, slot) = (table.next, Slot::default());
        table.next += 1;
        table.slots.insert(number, slot.clone());
        drop(table);
        Some(Place { connections: Arc::clone(self), number, slot, _counted: Held::of(&METRICS.connections) })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn make_room(table: &mut Table) -> bool {
    let idle = |slot: &Slot| slot.busy.load(Ordering::Acquire) == 0;
    let Some(number) = table.slots.iter().find(|(_, slot)| idle(slot)).map(|(number, _)| *number) else {
        return false;
    };
    if let Some(slot) = table.slots.remove(&number) {
        slot.leave.cancel();
    }
    true
}

impl Place {
    /// Until dropped, this connection makes room for no other.
    pub(super) fn busy(&self) -> Busy {
        self.slot.busy.fetch_add(1, Ordering::AcqRel);
        Busy(Arc::clone(&self.slot.busy))
    }

    /// Ends when the connection has to make room.
    pub(super) async fn must_leave(&self) {
        self.slot.leave.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.table().slots.remove(&self.number);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn must_leave(place: &Place) -> bool {
        place.slot.leave.is_cancelled()
    }

    #[test]
    fn the_oldest_idle_one_makes_room() {
        let connections = Connections::new(2);
        let (first, second) = (connections.admit().unwrap(), connections.admit().unwrap());
        let busy = first.busy();
        let third = connections.admit().unwrap();
        assert!(!must_leave(&first) && must_leave(&second) && !must_leave(&third));
        drop(busy);
        let fourth = connections.admit().unwrap();
        assert!(must_leave(&first) && !must_leave(&third) && !must_leave(&fourth));
    }

    #[test]
    fn busy_ones_stay_and_places_are_given_back() {
        let connections = Connections::new(1);
        let first = connections.admit().unwrap();
        let busy = (first.busy(), first.busy());
        assert!(connections.admit().is_none());
        drop(busy.0);
        assert!(connections.admit().is_none(), "one request is still under way");
        drop((busy.1, first));
        assert!(connections.admit().is_some());
        assert_eq!(connections.table().slots.len(), 0);
    }
}

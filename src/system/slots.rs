//! The sockets that workers inherit: one set for all slots, or in mode `reuseport` one for each, made before its first worker.
//!
//! A slot's sockets stay when its worker goes: what waits in them is not lost, and the next worker there finds them again. Who
//! gets new connections meanwhile, and when a slot is gone for good, is decided elsewhere.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::RawFd;

use tracing::{debug, warn};

use super::queue::{self, Depths};
use super::socket::{self, Listener, Manner};
use super::{descriptors, steer};
use crate::config::address::Address;
use crate::config::{Config, Mode};
use crate::ids::Slot;

/// The sockets of a run. Alive until we leave.
pub enum Slots {
    /// All slots have the same.
    Shared(Vec<Listener>),
    /// Each has its own.
    Each(Each),
}

impl Slots {
    /// Binds what is to be bound; what was passed to us comes first. Or says why that cannot be.
    pub fn bind(config: &Config, passed: Vec<Listener>) -> Result<Self, String> {
        let reuseport = match config.mode {
            Mode::Cluster | Mode::Inherit => false,
            Mode::Reuseport => true,
            Mode::Ports | Mode::Plain => return Ok(Self::Shared(Vec::new())),
        };
        let addresses = config.settings.listen.as_ref().map(|listen| listen.0.as_slice()).unwrap_or_default();
        let mut backlog = config.settings.backlog.0;
        if let Some(longest) = socket::longest_backlog().filter(|longest| *longest < backlog) {
            warn!(backlog, somaxconn = longest, "BACKLOG is cut to net.core.somaxconn");
            backlog = longest;
        }
        let manner = Manner { backlog, reuseport };
        if reuseport {
            let is_alone = addresses.iter().all(|address| socket::is_free(address, addresses));
            let first = set(passed, addresses, manner)?;
            return Each::new(config.workers, first, addresses, manner, is_alone).map(Self::Each);
        }
        set(passed, addresses, manner).map(Self::Shared)
    }

    /// Those of one slot, if they were made.
    pub fn of(&self, slot: Slot) -> &[Listener] {
        match self {
            Self::Shared(set) => set,
            Self::Each(each) => each.sets.get(usize::from(slot.0)).map(Vec::as_slice).unwrap_or_default(),
        }
    }

    /// Sees to it that a slot has its sockets, or says why it cannot.
    pub fn make(&mut self, slot: Slot) -> Result<(), String> {
        match self {
            Self::Shared(_) => Ok(()),
            Self::Each(each) => each.make(slot),
        }
    }

    /// Lets new connections come to these slots only.
    pub fn steer(&mut self, slots: &[Slot]) {
        match self {
            Self::Shared(_) => {}
            Self::Each(each) => each.steer(slots),
        }
    }

    /// Closes what belongs to the slots above so many.
    pub fn keep(&mut self, count: u16) {
        match self {
            Self::Shared(_) => {}
            Self::Each(each) => each.keep(count),
        }
    }

    /// Connections that wait, by slot, where each has its own.
    pub fn queues(&self) -> Vec<(Slot, u32)> {
        let Self::Each(each) = self else { return Vec::new() };
        let depth = |set: &Vec<Listener>| {
            let own = set.iter().filter(|listener| listener.multiplies);
            own.filter_map(|listener| queue::depth(&listener.fd)).reduce(|one, other| one + other)
        };
        let slots = (0..).map(Slot).zip(&each.sets);
        slots.filter_map(|(slot, set)| Some((slot, depth(set)?))).collect()
    }

    /// Connections that wait, by listener.
    pub fn add_depths(&self, depths: &mut Depths) {
        let listeners: Box<dyn Iterator<Item = &Listener>> = match self {
            Self::Shared(set) => Box::new(set.iter()),
            Self::Each(each) => Box::new(each.sets.iter().flatten()),
        };
        for listener in listeners {
            queue::add(depths, listener.given_name(), &listener.fd);
        }
    }
}

/// Sockets of which each slot has its own.
pub struct Each {
    /// By slot, which is also the order in which they came to their groups.
    sets: Vec<Vec<Listener>>,
    addresses: Vec<Address>,
    manner: Manner,
    /// The slots that new connections may come to, those included that are not made yet.
    included: BTreeSet<usize>,
    /// Nobody else was in our groups, so that we know everybody's index.
    is_alone: bool,
    /// That it does not work is told once.
    is_told: bool,
}

impl Each {
    fn new(
        workers: u16,
        first: Vec<Listener>,
        addresses: &[Address],
        manner: Manner,
        is_alone: bool,
    ) -> Result<Self, String> {
        let alone = first.iter().filter(|listener| !listener.multiplies).count();
        if alone > 0 {
            warn!(
                sockets = alone,
                "UNIX sockets and those passed to us cannot be one per slot; workers share them"
            );
        }
        if !is_alone {
            warn!(
                "others listen on the same address with SO_REUSEPORT; connections go to slots and to them by chance"
            );
        }
        let included = (0..usize::from(workers)).collect();
        let sets = vec![first];
        let mut each =
            Self { sets, addresses: addresses.to_vec(), manner, included, is_alone, is_told: false };
        each.grow(usize::from(workers))?;
        // From the start, so that no datagram's sender changes its worker later.
        each.apply(usize::from(workers));
        Ok(each)
    }

    fn make(&mut self, Slot(slot): Slot) -> Result<(), String> {
        let wanted = usize::from(slot) + 1;
        if self.sets.len() < wanted {
            // What comes to a new socket would wait until its worker accepts.
            self.apply(wanted);
        }
        self.grow(wanted)
    }

    fn grow(&mut self, wanted: usize) -> Result<(), String> {
        while self.sets.len() < wanted {
            let set = self.another_set()?;
            self.sets.push(set);
        }
        Ok(())
    }

    /// On failure the sockets that were made are closed again; none has come to a group after them.
    fn another_set(&self) -> Result<Vec<Listener>, String> {
        let passed = self.sets[0].len() - self.addresses.len();
        let listeners = self.sets[0].iter().enumerate().map(|(index, listener)| {
            if listener.multiplies {
                return socket::listen(&self.addresses[index - passed], &self.addresses, self.manner);
            }
            let fd = listener.fd.try_clone().map_err(no_descriptor)?;
            Ok(Listener::passed(fd, listener.name.clone()))
        });
        lifted(listeners.collect::<Result<_, _>>()?)
    }

    fn steer(&mut self, slots: &[Slot]) {
        if slots.is_empty() {
            return;
        }
        self.included = slots.iter().map(|slot| usize::from(slot.0)).collect();
        self.apply(self.sets.len());
    }

    /// The last to come to a group leaves without another taking its index.
    fn keep(&mut self, count: u16) {
        let count = usize::from(count).max(1);
        if count < self.sets.len() {
            self.apply(count);
            self.sets.truncate(count);
        }
    }

    /// Tells the kernel who is included of so many, those counted that are still to come.
    fn apply(&mut self, members: usize) {
        let included: BTreeSet<usize> = self.included.range(..members).copied().collect();
        if !self.is_alone || included.is_empty() {
            return;
        }
        for listener in self.sets[0].iter().filter(|listener| listener.multiplies) {
            match steer::steer(&listener.fd, members, &included) {
                Ok(()) => {}
                Err(error) if self.is_told => debug!(error = %error, "connections cannot be steered"),
                Err(error) => {
                    self.is_told = true;
                    warn!(error = %error, "connections cannot be steered; they go to slots that cannot serve them as well");
                }
            }
        }
    }
}

/// One socket for each.
fn set(passed: Vec<Listener>, addresses: &[Address], manner: Manner) -> Result<Vec<Listener>, String> {
    let mut set = passed;
    for address in addresses {
        set.push(socket::listen(address, addresses, manner)?);
    }
    lifted(set)
}

/// A child puts its sockets at the first numbers, one after the other; none may overwrite the next.
fn lifted(mut set: Vec<Listener>) -> Result<Vec<Listener>, String> {
    let above = descriptors::FIRST + set.len() as RawFd;
    for listener in &mut set {
        descriptors::lift(&mut listener.fd, above).map_err(no_descriptor)?;
    }
    Ok(set)
}

fn no_descriptor(error: io::Error) -> String {
    format!("there are not enough descriptors for the sockets: {error}; raise the limit of open files")
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::config::address::Place;

    const MANNER: Manner = Manner { backlog: 1024, reuseport: true };

    fn address() -> Address {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        Address { name: None, place: Place::Tcp(free) }
    }

    fn each(address: &Address, slots: u16) -> Slots {
        let addresses = [address.clone()];
        let is_alone = socket::is_free(address, &addresses);
        let first = set(Vec::new(), &addresses, MANNER).unwrap();
        Slots::Each(Each::new(slots, first, &addresses, MANNER, is_alone).unwrap())
    }

    /// Makes connections, and says how many wait in each slot since we began.
    fn connect(slots: &Slots, address: &Address, connections: &mut Vec<TcpStream>) -> Vec<u32> {
        let Place::Tcp(addr) = address.place else { unreachable!() };
        connections.extend((0..60).map(|_| TcpStream::connect(addr).unwrap()));
        let queues = slots.queues();
        assert!(queues.iter().zip(0..).all(|((slot, _), number)| *slot == Slot(number)), "{queues:?}");
        queues.into_iter().map(|(_, depth)| depth).collect()
    }

    #[test]
    fn slots_come_and_go_and_the_others_keep_what_is_theirs() {
        let (address, connections) = (address(), &mut Vec::new());
        let mut slots = each(&address, 2);
        let before = connect(&slots, &address, connections);
        assert!(before[0] > 0 && before[1] > 0);

        slots.make(Slot(2)).unwrap();
        let made = connect(&slots, &address, connections);
        assert!(made[2] == 0 && made[0] > before[0] && made[1] > before[1], "{before:?} {made:?}");
        slots.steer(&[Slot(0), Slot(2), Slot(99)]);
        let steered = connect(&slots, &address, connections);
        assert!(steered[0] > made[0] && steered[1] == made[1] && steered[2] > 0, "{made:?} {steered:?}");
        slots.steer(&[]);
        assert_eq!(connect(&slots, &address, connections)[1], made[1], "nobody is no wish");

        let last = connect(&slots, &address, connections);
        slots.keep(2);
        let kept = connect(&slots, &address, connections);
        assert_eq!(kept.len(), 2);
        assert!(kept[0] > last[0] && kept[1] == last[1], "{last:?} {kept:?}");
        slots.make(Slot(3)).unwrap();
        slots.steer(&[Slot(3)]);
        assert_eq!(connect(&slots, &address, connections)[3], 60);

        let mut depths = Depths::new();
        slots.add_depths(&mut depths);
        let Place::Tcp(addr) = address.place else { unreachable!() };
        assert_eq!(
            depths,
            Depths::from([((addr.to_string(), addr.to_string()), Some(kept[0] + kept[1] + 60))])
        );
    }

    #[test]
    fn where_others_share_the_address_the_kernel_chooses() {
        let (address, connections) = (address(), &mut Vec::new());
        let theirs = each(&address, 2);
        let mut ours = each(&address, 2);
        ours.steer(&[Slot(1)]);
        let queues = connect(&ours, &address, connections);
        assert!(queues.iter().all(|depth| *depth > 0), "{queues:?}");
        assert!(theirs.queues().iter().all(|(_, depth)| *depth > 0));
    }
}

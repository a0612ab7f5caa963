//! The workers among what is registered.

use super::*;

impl Books {
    /// A worker is registered, or is so still.
    pub(in crate::catalog) async fn put_worker(
        &mut self,
        bus: &dyn Bus,
        store: &str,
        key: &str,
        value: &Bytes,
    ) -> Result<(), String> {
        self.told(Shelved::Workers, key);
        let hash = self.hasher.hash_one(value);
        let id = key.rsplit('.').next().unwrap_or_default();
        if let Some(known) = self.workers.get(id)
            && known.hash == hash
        {
            known.peer.registered_again();
            return Ok(());
        }
        let mut record: WorkerRecord = read(value)?;
        if let Some(object) = &record.object {
            record.servers = read(&fetch(bus, store, object).await?)?;
        }
        if !self.has_room(self.workers.len(), MOST_WORKERS) {
            return Ok(());
        }
        let mut editions = Vec::with_capacity(record.servers.len());
        for (name, served) in &record.servers {
            let server = ServerName::parse(name)?;
            editions.push((
                server.clone(),
                self.edition(&server, served),
                served.changes,
            ));
        }
        self.place(id, record.capacity, record.draining, hash, editions);
        Ok(())
    }

    fn place(
        &mut self,
        id: &str,
        capacity: usize,
        draining: bool,
        hash: u64,
        editions: Vec<(ServerName, Arc<Edition>, [u64; 3])>,
    ) {
        let before = self.workers.remove(id);
        for (server, _, changes) in &editions {
            let told = before.iter().flat_map(|worker| &worker.editions);
            let told = told
                .filter(|(name, ..)| name == server)
                .map(|(.., told)| told);
            if let Some(told) = told.into_iter().next() {
                let sum = self.changes.entry(server.clone()).or_default();
                for (sum, (now, before)) in sum.iter_mut().zip(changes.iter().zip(told)) {
                    *sum += now.saturating_sub(*before);
                }
            }
            self.dirty.insert(server.clone());
        }
        let peer = match before {
            Some(before) => {
                let gone = before.editions.into_iter().map(|(server, ..)| server);
                self.dirty.extend(gone);
                before.peer.registered(capacity, draining);
                before.peer
            }
            None => Peer::new(id, capacity),
        };
        let worker = Worker {
            was_live: peer.is_live(),
            peer,
            hash,
            editions,
        };
        self.workers.insert(id.into(), worker);
    }

    /// Workers that have the same share what is kept of it.
    fn edition(&self, server: &ServerName, served: &ServedServer) -> Arc<Edition> {
        let known = self.workers.values().flat_map(|worker| &worker.editions);
        let mut same =
            known.filter(|(name, edition, _)| name == server && reads_like(edition, served));
        if let Some((_, edition, _)) = same.next() {
            return Arc::clone(edition);
        }
        let tools = served.tools.iter();
        Arc::new(Edition {
            digest: served.digest.as_str().into(),
            tools: tools
                .map(|(tool, digest)| (tool.as_str().into(), digest.as_str().into()))
                .collect(),
            stateful: served.stateful,
        })
    }

    /// A worker's record is gone.
    pub(in crate::catalog) fn drop_worker(&mut self, key: &str) {
        let id = key.rsplit('.').next().unwrap_or_default();
        if let Some(worker) = self.workers.remove(id) {
            worker.peer.is_gone();
            let servers = worker.editions.into_iter().map(|(server, ..)| server);
            self.dirty.extend(servers);
        }
    }

    /// A worker's heart beats.
    pub(in crate::catalog) fn beat(&mut self, id: &str, beat: &Heartbeat) {
        if let Some(worker) = self.workers.get(id) {
            worker.peer.beats(beat);
            self.look_at(id);
        }
    }

    /// Looks who is there, and forgets who was not heard of for too long.
    pub(in crate::catalog) fn look(&mut self) {
        let forgotten = |worker: &Worker| worker.peer.unseen() > FORGET_AFTER;
        let ids: Vec<Arc<str>> = self.workers.keys().cloned().collect();
        for id in ids {
            self.look_at(&id);
            if self.workers.get(&id).is_some_and(forgotten) {
                self.drop_worker(&id);
            }
        }
    }

    fn look_at(&mut self, id: &str) {
        if let Some(worker) = self.workers.get_mut(id)
            && worker.was_live != worker.peer.is_live()
        {
            worker.was_live = !worker.was_live;
            let servers = worker.editions.iter().map(|(server, ..)| server.clone());
            self.dirty.extend(servers);
        }
    }
}

fn reads_like(edition: &Edition, served: &ServedServer) -> bool {
    *edition.digest == *served.digest
        && edition.stateful == served.stateful
        && edition.tools.len() == served.tools.len()
        && edition
            .tools
            .iter()
            .zip(&served.tools)
            .all(|((a, x), (b, y))| **a == **b && **x == **y)
}

"""The front end of a cluster: gives jobs to actors, listens to them, and notices when they die.

The store stays where it is and stays the truth. Every claim has a worker id of its own, so that an
actor that was given up can say what it likes: nobody hears it.
"""

from __future__ import annotations

import logging
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from studio.core.errors import BackendError, StorageError, StudioError
from studio.core.settings import Settings
from studio.jobs.context import DEFAULT_RUNNER
from studio.jobs.records import Job, LeaseLost, Stop
from studio.jobs.store import JobStore
from studio.jobs.supervisor import Policy, Supervisor
from studio.scale.actor import Answer, GroupPlace, Seat, Task
from studio.scale.cluster import Cluster, Place, scratch_of
from studio.scale.depot import Depot
from studio.scale.given import Sender, user_presets
from studio.scale.mail import Mail
from studio.scale.post import Post, choose, holds

log = logging.getLogger("studio.front")

FAR = "ray-"
LEASE_S = 60.0
BEAT_S = 5.0
"""All leases are prolonged this often, in one transaction."""
NODES_S = 2.0
RETRY_S = 10.0
SILENCE_S = 45.0
"""An actor that does not answer for this long has lost its job."""
REST_S = 10.0
"""An actor that gave a job back gets no other for this long: its disk may be full."""
THREADS = 16


class Front(Supervisor):
    """A supervisor whose workers are actors of a cluster instead of a child process."""

    def __init__(
        self,
        store: JobStore,
        settings: Settings,
        policy: Policy | None = None,
        cluster: Cluster | None = None,
    ) -> None:
        super().__init__(store, settings, policy)
        self.cluster = cluster or Cluster(settings)
        self.depot = Depot(settings.depot_url)
        self.posts: dict[str, Post] = {}
        self.deaths: list[str] = []
        """Why jobs were taken from actors, newest last."""
        self._connected = False
        self._adopted = False
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="actor")

    def tick(self) -> None:
        """Look at the store's own needs, then at the cluster."""
        super().tick()
        if self._ready and self._join():
            if self._is_due("nodes", NODES_S):
                self._look_at_nodes()
            if self._is_due("beat", BEAT_S):
                self._beat()
            for post in list(self.posts.values()):
                self._attend(post)
            self._adopt()
            self._give_out()

    def _is_wanted(self) -> bool:
        """No worker process of this machine's own."""
        return False

    def _tidy(self) -> None:
        """Forget what no job needs, in the shared storage too."""
        super()._tidy()
        for job_id in self.depot.jobs() - self.store.unfinished():
            self.depot.forget(job_id)

    def _join(self) -> bool:
        if self._connected:
            return True
        if not self._is_due("connect", RETRY_S):
            return False
        try:
            self.cluster.connect()
        except BackendError as error:
            log.warning("%s", error)
            self.store.hold("worker", str(error))
            # The hold is what the page shows; it must outlive the ticks until the next try.
            return False
        self.store.release("worker")
        self._connected = True
        return True

    def _look_at_nodes(self) -> None:
        """Seats for new devices; jobs back from devices that are gone."""
        try:
            places = {place.name: place for place in self.cluster.places()}
        except Exception as error:  # Ray raises what its many layers raise.
            log.warning("the cluster does not answer: %s", error)
            self.cluster.close()
            self._connected = False
            return
        for name in self.posts.keys() - places.keys():
            post = self.posts.pop(name)
            self._bereave(post, "its machine left the cluster", strike=False)
            self.cluster.remove([post.handle])
        for name in places.keys() - self.posts.keys():
            place = places[name]
            self.posts[name] = Post(place, self.cluster.seat(place, self._seat_for(place)))
            log.info("device joins", extra={"device": name})

    def _seat_for(self, place: Place) -> Seat:
        return Seat(
            name=place.name,
            scratch=scratch_of(self.settings, place),
            device=place.device,
            threads=self.settings.threads,
            budget_bytes=self.settings.budget_bytes,
            runner=self.policy.runner or DEFAULT_RUNNER,
            lease_s=LEASE_S,
        )

    def _attend(self, post: Post) -> None:
        """Ask an actor how it is, in a thread of its own; one question at a time."""
        if post.ask is not None and not post.ask.done():
            return
        # A thousand actors are asked less often each, so that the questions a second stay the same.
        pause = max(self.policy.tick_s, 0.002 * len(self.posts))
        if time.monotonic() - post.asked_at >= pause:
            post.asked_at = time.monotonic()
            post.ask = self._pool.submit(self._ask, post)

    def _ask(self, post: Post) -> None:
        mail = post.mail
        try:
            stop = self.store.get(mail.job_id).stop if mail is not None else ""
            if mail is not None and self._is_deaf(post, stop):
                self._replace(post, "its worker was ended on request")
                return
            acknowledged = mail.acknowledged if mail is not None else 0
            answer = self.cluster.ask(
                post.handle.collect.remote(acknowledged, stop if stop != "kill" else "cancel")
            )
        except BackendError as error:
            self._missed(post, str(error))
            return
        except StudioError as error:
            log.warning("%s", error)
            return
        post.silent_since = None
        self._heard(post, mail, answer)

    def _heard(self, post: Post, mail: Mail | None, answer: Answer) -> None:
        """An actor answered: with our job, without it, or as a process that is new."""
        changed, oom = post.pid not in (0, answer.pid), post.oom_kills != answer.oom_kills
        post.answer, post.pid, post.oom_kills = answer, answer.pid, answer.oom_kills
        if mail is None:
            if answer.worker_id is not None and self._adopted and post.mail is None:
                # Left over from a job that was given to somebody else.
                post.handle.drop.remote(answer.worker_id)
        elif answer.worker_id == mail.worker_id:
            post.seen = True
            self._read(post, mail, answer)
        elif changed or post.seen or time.monotonic() - post.begun_at >= SILENCE_S:
            why = "memory ran out and" if changed and oom else "its worker died;"
            text = f"{why} it goes on at its next window"
            self._bereave(post, text, strike=True, rung=changed and oom)

    def _read(self, post: Post, mail: Mail, answer: Answer) -> None:
        """Write down what the actor said, and prolong the lease."""
        try:
            mail.apply(answer.letters)
        except LeaseLost:
            self._give_up(post, mail)
            return
        except StorageError as error:
            log.error("%s", error)
            return
        if mail.ended:
            if answer.letters[-1].call == "requeue":
                post.rests_until = time.monotonic() + REST_S
            # One more question acknowledges the last letter and frees the actor.
            post.handle.collect.remote(mail.acknowledged, "")
            restart = answer.restart
            self._leave(post)
            if restart:
                self.cluster.replace(post.handle)

    def _beat(self) -> None:
        """Prolong the leases of all actors that answer, in one transaction."""
        posts = list(self.posts.values())
        mine = [(p, p.mail) for p in posts if p.mail is not None and p.silent_since is None]
        if mine:
            lost = self.store.heartbeats([(m.job_id, m.worker_id) for _, m in mine], LEASE_S)
            for post, mail in mine:
                # A job that ended a moment ago has no lease either; only its actor knows that.
                if mail.worker_id in lost and not mail.ended and post.mail is mail:
                    self._give_up(post, mail)

    def _give_up(self, post: Post, mail: Mail) -> None:
        """The job is somebody else's, or nobody's, by now."""
        post.handle.drop.remote(mail.worker_id)
        self._leave(post)

    def _leave(self, post: Post) -> None:
        """The actor has no job of ours any more, nor have those that helped it."""
        mail, post.mail, post.answer = post.mail, None, None
        post.running.clear()
        post.stop_since = None
        for other in list(self.posts.values()):
            if mail is not None and other.helps == mail.worker_id:
                other.helps, other.answer = None, None
                other.running.clear()
        self.store.revive()

    def _missed(self, post: Post, why: str) -> None:
        now = time.monotonic()
        post.silent_since = post.silent_since or now
        post.answer = None if post.mail is None else post.answer
        if post.mail is not None and now - post.silent_since >= SILENCE_S:
            self._replace(post, f"its worker is silent ({why})")

    def _is_deaf(self, post: Post, stop: Stop) -> bool:
        """Whether a job that should end goes on for longer than it may."""
        now, policy = time.monotonic(), self.policy
        if not stop:
            post.stop_since = None
            return False
        post.stop_since = post.stop_since or now
        grace = {"kill": 0.0, "cancel": policy.cancel_grace_s, "pause": policy.pause_grace_s}
        return now - post.stop_since >= grace[stop]

    def _replace(self, post: Post, why: str) -> None:
        """Take the actor's job and end its process; Ray starts another."""
        self._bereave(post, why, strike=False)
        self.cluster.replace(post.handle)

    def _bereave(self, post: Post, why: str, *, strike: bool, rung: bool = False) -> None:
        """The actor lost its job: it goes on elsewhere."""
        mail = post.mail
        if mail is not None:
            log.warning("job lost its actor", extra={"job": mail.job_id, "why": why})
            self.deaths.append(why)
            self.store.interrupt(mail.worker_id, why, strike=strike, rung=rung)
        self._leave(post)

    def _adopt(self) -> None:
        """Jobs that an earlier front end gave out: listen on, or take them back."""
        if self._adopted or not self.posts:
            return
        if any(p.answer is None and p.silent_since is None for p in self.posts.values()):
            return
        self._adopted = True
        running = self.store.list(states=["running"], limit=10_000)
        for job in running:
            worker = job.worker or ""
            if not worker.startswith(FAR):
                continue
            owner = next((p for p in self.posts.values() if holds(p, worker)), None)
            if owner is not None:
                owner.mail = Mail(self.store, self.settings, self.depot, job.id, worker)
                owner.seen = True
            else:
                text = "the studio ended; the job goes on at its next window"
                self.store.interrupt(worker, text, strike=False)
        for post in self.posts.values():
            if post.mail is None and post.answer is not None and post.answer.worker_id:
                post.handle.drop.remote(post.answer.worker_id)
        self.store.revive()

    def _give_out(self) -> None:
        """Give the next jobs in line to free actors, each to one that holds its model."""
        while self._adopted:
            free = [p for p in self.posts.values() if p.is_free]
            if not free:
                return
            worker_id = f"{FAR}{secrets.token_hex(8)}"
            job = self.store.claim(worker_id, LEASE_S)
            if job is None:
                return
            chosen = choose(free, job.preset)
            # A job that lost its group goes on alone; LoRAs lie on one machine only.
            alone = job.strikes > 0 or bool(job.request.get("loras"))
            others = [] if alone else [p for p in free if p is not chosen]
            helpers = others[: self.settings.spread - 1]
            self._begin(chosen, helpers, job, worker_id)

    def _begin(self, post: Post, helpers: list[Post], job: Job, worker_id: str) -> None:
        sender = Sender(self.depot, self.settings, job.id)
        try:
            request = sender.pack(job.request)
            group = self._group(post, helpers, worker_id)
            task = Task(
                job=replace(job, request=request),
                worker_id=worker_id,
                fence=time.time(),
                depot_url=self.settings.depot_url,
                given=sender.given,
                library=sender.library,
                presets=user_presets(self.settings),
                group=group,
            )
        except BackendError as error:
            self.store.requeue(job.id, worker_id, str(error))
            return
        except StudioError as error:
            self.store.fail(job.id, worker_id, type(error).__name__, str(error))
            return
        (self.settings.work_dir / job.id).mkdir(parents=True, exist_ok=True)
        post.mail = Mail(self.store, self.settings, self.depot, job.id, worker_id)
        post.begun_at = time.monotonic()
        post.seen = False
        post.running.append(post.handle.run.remote(task))
        post.answer = None

    def _group(self, post: Post, helpers: list[Post], worker_id: str) -> GroupPlace | None:
        """Ask free actors to compute parts of the clip that `post` makes."""
        if not helpers:
            return None
        address = self.cluster.ask(post.handle.open_group.remote())
        world, by = 1 + len(helpers), self.settings.spread_by
        for rank, helper in enumerate(helpers, 1):
            where = GroupPlace(address, rank, world, by)
            helper.helps = worker_id
            helper.running.append(helper.handle.follow.remote(where))
        return GroupPlace(address, 0, world, by)

    def _shut_down(self) -> None:
        """Leave; the actors work on for a lease's time, so that a restart finds them at it."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self.cluster.close()
        super()._shut_down()

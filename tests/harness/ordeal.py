"""Faults under load with a ledger and jobs, and the reckoning at the end."""

import threading
import time
import uuid

import requests

from chaos import Chaos
from ledger import Ledger
from services import wait_until


class Saver(threading.Thread):
    """Saves bookmarks all the time; those that were answered 201 are owed their job."""

    def __init__(self, stack, token, page):
        super().__init__(daemon=True)
        self.stack, self.token, self.page = stack, token, page
        self.saved, self.is_over = 0, threading.Event()

    def run(self):
        while not self.is_over.wait(0.05):
            try:
                answer = requests.post(self.stack.url + "/api/bookmarks", timeout=40, json={
                    "url": f"{self.page}?n={uuid.uuid4().hex}"}, headers={
                        "Authorization": f"Bearer {self.token}", "Connection": "close"})
                self.saved += answer.status_code == 201
            except requests.RequestException:
                pass  # its worker was killed


def ordeal(stack, pages, seed, faults, seconds, restored_within):
    pages.put("/page", "<html><title>x</title><p>" + "word " * 80 + "</p></html>")
    client = stack.client().sign_up()
    chaos = Chaos(stack, seed)
    wait_until(chaos.is_restored, 20, "everybody is there")
    before = chaos.master_descriptors()
    ledger = Ledger(stack.port, client.token, connections=64, streams=2, seed=seed)
    saver = Saver(stack, client.token, pages.url("/page"))
    saver.start()
    chaos.run(faults, seconds)
    restored = chaos.restored(restored_within)
    time.sleep(0.5)
    ledger.stop()
    saver.is_over.set()
    saver.join(60)
    print(f"seed {seed}: {faults} faults in {seconds} s {chaos.counts}; restored after "
          f"{restored:.2f} s; {saver.saved} saved; {ledger}")
    assert stack.master.is_running()
    innocent = [lost for lost, port in zip(ledger.lost, ledger.lost_ports)
                if port not in chaos.doomed]
    assert not innocent, f"{len(innocent)} of {len(ledger.lost)} losses: {innocent[:5]}"
    assert ledger.answered > 0 and set(ledger.statuses) == {200}, ledger.statuses
    assert saver.saved > 0

    def jobs_done():
        waiting = stack.sql("SELECT count(*) FROM saved_content "
                            "WHERE scrape_status IN ('PENDING', 'RUNNING')")[0][0]
        return waiting == 0 and stack.sql("SELECT count(*) FROM outbox")[0][0] == 0
    wait_until(jobs_done, 120, "every job that was owed has been done")
    failed = stack.sql("SELECT count(*) FROM saved_content WHERE scrape_status = 'FAILED'")
    assert failed[0][0] == 0, failed
    wait_until(lambda: chaos.leaks() == 0, 60, "no slot is left over")
    # A ctl that is just being answered has one.
    wait_until(lambda: chaos.master_descriptors() <= before, 20, "no descriptor is left over")

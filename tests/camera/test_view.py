"""The tally holds at any moment."""

import threading

from jepad.camera.view import View


def test_the_sum_holds_while_it_is_counted():
    view, done = View(), threading.Event()

    def count():
        for _ in range(3000):
            view.drop("thinned")
            view.share()
            view.drop("late")
        done.set()

    thread = threading.Thread(target=count)
    thread.start()
    while not done.is_set():
        got = view.tally()
        assert got["decoded"] == got["published"] + got["dropped"]
        assert got["dropped"] == got["thinned"] + got["late"] + got["unfit"]
    thread.join()
    assert view.tally()["decoded"] == 9000

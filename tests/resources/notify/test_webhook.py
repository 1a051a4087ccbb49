"""Posting to a webhook: what is tried again, and that no error names the address."""

import pytest
import stamina
from webhooks import webhook

from resources.notify.webhook import ATTEMPTS, NotificationError, post


@pytest.fixture(autouse=True)
def no_pauses():
    with stamina.set_testing(testing=True, attempts=ATTEMPTS, cap=True):
        yield


def test_a_message_arrives_as_json():
    with webhook() as hook:
        post(hook.url, {"text": "a ₿", "run_id": "1"})
    assert hook.received == [{"text": "a ₿", "run_id": "1"}]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_webhook_is_asked_three_times_more(status):
    with webhook(*[status] * 3) as hook:
        post(hook.url, {"text": "a"})
    assert (hook.requests, len(hook.received)) == (4, 1)
    with webhook(*[status] * 9) as hook, pytest.raises(NotificationError, match=str(status)):
        post(hook.url, {"text": "a"})
    assert hook.requests == 4


@pytest.mark.parametrize("status", [400, 404, 302, 307])
def test_a_refusal_or_redirect_is_final(status):
    with webhook(status) as hook, pytest.raises(NotificationError, match=f"HTTP {status}") as e:
        post(hook.url, {"text": "a"})
    assert (hook.requests, hook.received) == (1, [])
    assert "planted" not in str(e.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/planted-token",
        "http://user:planted-password@127.0.0.1:1/",
        "http://[planted/",
        "http://\udcff-planted/",
    ],
)
def test_no_error_names_the_address(url):
    with pytest.raises(NotificationError) as error:
        post(url, {"text": "a"})
    assert "planted" not in str(error.value)
    assert error.value.__suppress_context__
    assert "\n" not in str(error.value)

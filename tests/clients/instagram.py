"""Meta's own Python client publishes reels in the sandbox, one by its address and one by its bytes."""

import hashlib
import importlib.metadata
import os

import requests
from facebook_business.adobjects.igmedia import IGMedia
from facebook_business.adobjects.iguser import IGUser
from facebook_business.adobjects.shadowigmediabuilder import ShadowIGMediaBuilder
from facebook_business.api import FacebookAdsApi
from facebook_business.exceptions import FacebookRequestError
from facebook_business.session import FacebookSession

import sandbox
from sandbox import check

CLIENT = f"facebook-business {importlib.metadata.version('facebook-business')}"
TOKEN = os.environ["INSTAGRAM_ACCESS_TOKEN"]
VIDEO_URL = "https://cdn.example/reel.mp4"


def create_by_address(account, caption):
    """A reel that Instagram fetches."""
    return account.create_media(params={"media_type": "REELS", "video_url": VIDEO_URL, "caption": caption})["id"]


def create_by_bytes(account, caption, data):
    """A reel whose bytes are sent. The client makes the container, but has no method for the bytes."""
    made = account.create_media(params={"media_type": "REELS", "upload_type": "resumable", "caption": caption})
    headers = {"Authorization": f"OAuth {TOKEN}", "offset": "0", "file_size": str(len(data))}
    answer = requests.post(made["uri"], data=data, headers=headers, timeout=60)
    check((answer.status_code, answer.json().get("success")), (200, True), "the upload of the bytes")
    return made["id"]


def read_container(container_id, *fields):
    return ShadowIGMediaBuilder(container_id).api_get(fields=list(fields))


def wait_until_finished(container_id):
    states = []
    while states[-1:] != ["FINISHED"] and len(states) < 5:
        states.append(read_container(container_id, "status_code", "status")["status_code"])
    check(states[-1], "FINISHED", "state of the container")


def publish(account, container_id, caption):
    """Publishes, and finds the reel by its id and in the account's list."""
    media_id = account.create_media_publish(params={"creation_id": container_id})["id"]
    check(read_container(container_id, "status_code")["status_code"], "PUBLISHED", "state of the container")
    permalink = IGMedia(media_id).api_get(fields=["id", "permalink"])["permalink"]
    check(permalink.startswith("https://www.instagram.com/"), True, f"permalink {permalink}")
    fields = ["id", "caption", "timestamp", "permalink", "media_product_type"]
    [listed] = [media for media in account.get_media(fields=fields) if media["id"] == media_id]
    found = (listed["caption"], listed["permalink"], listed["media_product_type"])
    check(found, (caption, permalink, "REELS"), "the reel in the list")
    return media_id


def expect_refusal(call, code, subcode):
    """Fails unless the call is refused with these numbers, in a form that the client understands."""
    try:
        call()
    except FacebookRequestError as error:
        actual = (error.http_status(), error.api_error_code(), error.api_error_subcode())
        check(actual, (400, code, subcode), "the refusal")
    else:
        raise SystemExit(f"{code}/{subcode}: was not refused")


def main():
    FacebookSession.GRAPH = os.environ["INSTAGRAM_API_URL"]
    FacebookAdsApi.init(access_token=TOKEN, crash_log=False)
    account = IGUser(os.environ["INSTAGRAM_USER_ID"])
    [limit] = account.get_content_publishing_limit(fields=["config", "quota_usage"])
    check((limit["config"]["quota_total"], limit["quota_usage"]), (100, 0), "the publishing limit")

    caption = "A reel by its address – ä #one"
    container_id = create_by_address(account, caption)
    expect_refusal(lambda: account.create_media_publish(params={"creation_id": container_id}), 9007, 2207027)
    wait_until_finished(container_id)
    post = sandbox.published(publish(account, container_id, caption))
    check((post["text"], post["source_url"]), (caption, VIDEO_URL), "what was published")
    print(f"{CLIENT}: reel by its address published")

    caption, data = "A reel by its bytes – ä #two", sandbox.media(700_001)
    container_id = create_by_bytes(account, caption, data)
    uploading = read_container(container_id, "video_status")["video_status"]["uploading_phase"]
    check((uploading["status"], uploading["bytes_transferred"]), ("complete", len(data)), "phase of the upload")
    wait_until_finished(container_id)
    post = sandbox.published(publish(account, container_id, caption))
    check((post["text"], post["sha256"]), (caption, hashlib.sha256(data).hexdigest()), "what was published")
    print(f"{CLIENT}: reel by its bytes published (the bytes sent with requests)")

    private = {"media_type": "REELS", "video_url": "http://127.0.0.1/reel.mp4"}
    expect_refusal(lambda: account.create_media(params=private), 9004, 2207052)
    expect_refusal(lambda: account.create_media(params={"media_type": "REELS"}), 100, 2207023)
    print(f"{CLIENT}: refusals understood")
    check(sandbox.call("violations"), [], "rules that were broken without a refusal")


main()

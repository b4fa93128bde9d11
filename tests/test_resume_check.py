from boneexp.results import Computing
from boneexp.runs.resume_check import ResumeCheck, resume_check


def test_resume_is_exact_on_this_cpu():
    found = resume_check(Computing("cpu"), lambda news: None)
    assert (found.kills, found.bit_equal, found.schedule_equal, found.largest_difference) == (
        2,
        True,
        True,
        0.0,
    )
    assert found.sentence().startswith("resume is exact here")


def test_a_cpu_that_is_not_exact_fails_and_a_gpu_must_keep_the_schedule():
    def check(device, schedule_equal):
        return ResumeCheck(device, "efficientnet_b0", 2, False, schedule_equal, 1e-3, 30.0)

    assert not check("cpu", schedule_equal=True).passed
    assert check("cuda", schedule_equal=True).passed
    assert not check("cuda", schedule_equal=False).passed
    assert "differ by up to 0.001" in check("cuda", schedule_equal=True).sentence()

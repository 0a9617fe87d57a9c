"""The effective batch: per device x devices x accumulation."""

from dataclasses import dataclass

from spanetv2.errors import UserError

__all__ = ["BatchPlan", "plan_batches"]


@dataclass(frozen=True, kw_only=True)
class BatchPlan:
    """How a total batch is put together.

    Args:
        per_device: images per device and forward pass.
        devices: processes over all nodes.
        accumulation: forward passes per optimiser update.
        wanted: the total batch asked for.
    """

    per_device: int
    devices: int
    accumulation: int
    wanted: int

    @property
    def total(self) -> int:
        """Images per optimiser update."""
        return self.per_device * self.devices * self.accumulation

    def __str__(self) -> str:
        text = (
            f"batch: {self.per_device} per device x {self.devices} device"
            f"{'s' if self.devices > 1 else ''} x {self.accumulation} accumulated = {self.total}"
        )
        if self.total == self.wanted:
            return text
        change = 100 * (self.total / self.wanted - 1)
        return (
            f"{text}, NOT the total batch of {self.wanted} asked for ({change:+.1f} %); "
            "the learning rate is left as it is"
        )


def plan_batches(
    total: int,
    *,
    devices: int,
    per_device: int | None = None,
    accumulation: int | None = None,
    even: bool = False,
) -> BatchPlan:
    """Put a total batch together, exactly where that is possible, else as near as it goes.

    Args:
        total: images per optimiser update asked for (``data.total_batch``).
        devices: processes over all nodes.
        per_device: images per device at a time, where given (``data.batch_size``); too large a
            value is lowered to the total's share.
        accumulation: passes per update, where given (``data.accumulation``).
        even: images per device must be even, as mixup pairs them.

    Raises:
        UserError: fewer images than devices, or an odd number given where it must be even.

    Example:
        >>> print(plan_batches(4096, devices=8, per_device=128))
        batch: 128 per device x 8 devices x 4 accumulated = 4096
    """
    if total < devices:
        raise UserError(
            f"data.total_batch={total} on {devices} devices, expected at least one image for each"
        )
    if per_device is None:
        per_device = _whole(total / (devices * (accumulation or 1)), even)
    elif even and per_device % 2:
        raise UserError(
            f"data.batch_size={per_device} with mixup or cutmix, which pair images; expected an "
            "even number"
        )
    elif accumulation is None and per_device * devices > total:
        per_device = _whole(total / devices, even)
    if accumulation is None:
        accumulation = max(1, round(total / (per_device * devices)))
    return BatchPlan(
        per_device=per_device, devices=devices, accumulation=accumulation, wanted=total
    )


def _whole(images: float, even: bool) -> int:
    return max(2, 2 * round(images / 2)) if even else max(1, round(images))

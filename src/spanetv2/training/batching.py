"""The effective batch: per device x devices x accumulation."""

from dataclasses import dataclass, replace

from spanetv2.errors import UserError

__all__ = ["BatchPlan", "is_all", "limited_batches", "plan_batches"]


@dataclass(frozen=True, kw_only=True)
class BatchPlan:
    """How a total batch is put together.

    Args:
        per_device: images per device and forward pass.
        devices: processes over all nodes.
        accumulation: forward passes per optimiser update.
        wanted: the total batch asked for.
        reason: why it is another one, where not for the number of devices.
    """

    per_device: int
    devices: int
    accumulation: int
    wanted: int
    reason: str = ""

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
        why = f", as {self.reason}" if self.reason else ""
        return (
            f"{text}, NOT the total batch of {self.wanted} asked for ({change:+.1f} %){why}; "
            "the learning rate is left as it is"
        )

    def lowered(self, *, images: int, batches: int, even: bool = False) -> "BatchPlan":
        """The plan with a total batch that a small data set has at least once.

        Args:
            images: of the training split.
            batches: whole batches of one forward pass on all devices that it gives.
            even: images per device must be even.

        Returns:
            This plan where it fits, or where none does.

        Example:
            >>> plan = plan_batches(128, devices=1, per_device=32)
            >>> plan.lowered(images=96, batches=3).total, plan.lowered(images=20, batches=0).total
            (96, 20)
        """
        if batches >= self.accumulation:
            return self
        per_device = self.per_device if batches else images // self.devices
        per_device -= per_device % 2 if even else 0
        if not per_device:
            return self
        reason = f"the training split has {images} images"
        return replace(self, per_device=per_device, accumulation=max(1, batches), reason=reason)


def is_all(limit: int | float) -> bool:
    """Whether a limit of batches is no limit; a whole 1 is one batch."""
    return isinstance(limit, float) and limit == 1.0


def limited_batches(batches: int, limit: int | float) -> int:
    """Batches of an epoch under a limit: a whole number of them, or a share.

    Example:
        >>> limited_batches(10, 3), limited_batches(10, 1.0), limited_batches(10, 0.25)
        (3, 10, 2)
    """
    return min(batches, limit if isinstance(limit, int) else int(batches * limit))


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

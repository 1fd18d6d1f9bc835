// SPDX-License-Identifier: MIT
using Fleece.Disks.Resuming;

namespace Fleece.Disks.Tests.Resuming;

public sealed class SessionSlotTests
{
    private static readonly Guid Id = new(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11);
    private static readonly DateTimeOffset Instant = new(2026, 11, 30, 1, 2, 3, TimeSpan.Zero);
    private static readonly SessionEvidence Evidence = new(new(1, 2, 3), new(4, 5, 6));

    [Theory]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    [InlineData(true, true)]
    public void A_slot_comes_back_as_it_was(bool hasInstant, bool hasEvidence)
    {
        SessionSlot slot = new(Guid.NewGuid(), hasInstant ? Instant : null, hasEvidence ? Evidence : null);

        Assert.Equal(slot, SessionSlot.Decode(Id, slot.Encode(Id)));
    }

    [Fact]
    public void A_slot_of_another_log_or_with_any_byte_damaged_is_none()
    {
        byte[] bytes = new SessionSlot(Guid.NewGuid(), Instant, Evidence).Encode(Id);

        Assert.Null(SessionSlot.Decode(Guid.NewGuid(), bytes));
        for (int i = 0; i < bytes.Length; i++)
        {
            byte[] damaged = [.. bytes];
            damaged[i] ^= 0x10;
            Assert.Null(SessionSlot.Decode(Id, damaged));
        }
    }
}

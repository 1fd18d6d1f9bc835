// SPDX-License-Identifier: MIT
namespace Fleece.Resuming.Tests.Truth;

/// <summary>What the truth demands of a bitmap: no change of which it can't be known that the bitmap recorded then.</summary>
public sealed class DiskTruthTests
{
    private const int SectorCount = 8 * Marks.UnitSectors;

    private readonly DiskTruth _truth = new("vm", SectorCount);

    // The host may have made the change before the bitmap was there: a discard is settled by a read behind it alone.
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_bitmap_need_not_have_a_change_that_began_before_it_was_made(bool isAnsweredWhileSessionStarts)
    {
        Assert.True(_truth.TryBegin(0, 8, write: 1));
        BitmapTruth daily = MakeBitmap();
        SessionTruth night = new(_truth, "night", daily, nextName: null, []);
        if (isAnsweredWhileSessionStarts)
        {
            _truth.BeginStart(night);
            _truth.Complete(0, 8);
        }
        else
        {
            _truth.Complete(0, 8);
            _truth.BeginStart(night);
        }

        _truth.Undo(night);

        Assert.DoesNotContain(true, daily.Marks.Must);
        Assert.True(daily.Marks.May[0]);
    }

    [Fact]
    public void A_bitmap_must_have_a_change_that_began_behind_it_and_was_answered_while_a_session_started()
    {
        BitmapTruth daily = MakeBitmap();
        Assert.True(_truth.TryBegin(Marks.UnitSectors, 8, write: 1));
        SessionTruth night = new(_truth, "night", daily, nextName: null, []);
        _truth.BeginStart(night);
        _truth.Complete(Marks.UnitSectors, 8);

        _truth.Undo(night);

        Assert.Equal([1], Enumerable.Range(0, daily.Marks.Must.Length).Where(unit => daily.Marks.Must[unit]));
    }

    private BitmapTruth MakeBitmap()
    {
        BitmapTruth bitmap = new("daily", new Marks(SectorCount)) { RecordsFrom = long.MaxValue, IsAsked = true };
        _truth.BeginRecording(bitmap);
        bitmap.RecordsFrom = _truth.Tick();
        bitmap.IsAsked = false;
        return bitmap;
    }
}

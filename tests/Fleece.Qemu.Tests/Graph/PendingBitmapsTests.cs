// SPDX-License-Identifier: MIT
using Fleece.Disks.Names;
using Fleece.Qemu.Bitmaps;
using Fleece.Qemu.Qmp;

namespace Fleece.Qemu.Tests.Graph;

/// <summary>How bitmaps end whose session did not.</summary>
public sealed class PendingBitmapsTests
{
    private static readonly Guid InstantId = new("0123456789abcdef0123456789abcdef");
    private static readonly string Pinned = new QemuBitmapName("daily", Guid.NewGuid()).ToString();
    private static readonly string Pending = new QemuBitmapName("daily", InstantId, IsPending: true).ToString();

    [Fact]
    public void APinnedBitmapGetsWhatWasRecordedAndRecordsAgain() => Assert.Equal(
        [BitmapActions.Enable("a", Pinned), BitmapActions.Merge("a", Pinned, [Pending]), BitmapActions.Remove("a", Pending)],
        Fold(Bitmap(Pinned, isRecording: false), Bitmap(Pending)),
        (left, right) => left.ToJsonString() == right.ToJsonString());

    [Fact]
    public void ABitmapWithoutAPinnedOneGoes() => Assert.Equal(
        [BitmapActions.Remove("a", Pending)],
        Fold(Bitmap("other", isRecording: false), Bitmap(Pending)),
        (left, right) => left.ToJsonString() == right.ToJsonString());

    [Fact]
    public void ARecordThatIsInconsistentTakesThePinnedBitmapWithIt() => Assert.Equal(
        [BitmapActions.Remove("a", Pinned), BitmapActions.Remove("a", Pending)],
        Fold(Bitmap(Pinned, isRecording: false), Bitmap(Pending, isInconsistent: true)),
        (left, right) => left.ToJsonString() == right.ToJsonString());

    [Fact]
    public void APinnedBitmapThatAToolHasEnabledGetsWhatWasRecorded() => Assert.Equal(
        [BitmapActions.Enable("a", Pinned), BitmapActions.Merge("a", Pinned, [Pending]), BitmapActions.Remove("a", Pending)],
        Fold(Bitmap(Pinned), Bitmap("daily"), Bitmap(Pending)),
        (left, right) => left.ToJsonString() == right.ToJsonString());

    [Fact]
    public void OfTwoBaselinesOfANameNeitherStays()
    {
        string other = new QemuBitmapName("daily", Guid.NewGuid()).ToString();
        Assert.Equal(
            [BitmapActions.Remove("a", Pinned), BitmapActions.Remove("a", other), BitmapActions.Remove("a", Pending)],
            Fold(Bitmap(Pinned, isRecording: false), Bitmap(other), Bitmap(Pending)),
            (left, right) => left.ToJsonString() == right.ToJsonString());
    }

    [Fact]
    public void BesideAStoppedOneWithoutAnInstantTheOneThatCountsWasPinned() => Assert.Equal(
        [BitmapActions.Enable("a", Pinned), BitmapActions.Merge("a", Pinned, [Pending]), BitmapActions.Remove("a", Pending)],
        Fold(Bitmap("daily", isRecording: false), Bitmap(Pinned, isRecording: false), Bitmap(Pending)),
        (left, right) => left.ToJsonString() == right.ToJsonString());

    [Fact]
    public void WhereItCanNotBeToldWhichWasPinnedNoneIsTrusted()
    {
        string other = new QemuBitmapName("daily", Guid.NewGuid()).ToString();
        Assert.Equal(
            [BitmapActions.Remove("a", Pinned), BitmapActions.Remove("a", other), BitmapActions.Remove("a", Pending)],
            Fold(Bitmap(Pinned, isRecording: false), Bitmap(other, isRecording: false), Bitmap(Pending)),
            (left, right) => left.ToJsonString() == right.ToJsonString());
    }

    [Fact]
    public void ALiveSessionsBitmapsStay() => Assert.Empty(PendingBitmaps.Fold(
        Node(Bitmap(Pinned, isRecording: false), Bitmap(Pending)), id => id == InstantId));

    private static IReadOnlyList<System.Text.Json.Nodes.JsonObject> Fold(params QemuBitmapReply[] bitmaps) =>
        PendingBitmaps.Fold(Node(bitmaps), _ => false);

    private static QemuNodeReply Node(params QemuBitmapReply[] bitmaps) => new("a", "qcow2", false, 65536, "/a", 65536, "1.1", bitmaps);

    private static QemuBitmapReply Bitmap(string name, bool isRecording = true, bool isInconsistent = false) =>
        new(name, 65536, 0, isRecording, false, true, isInconsistent);
}

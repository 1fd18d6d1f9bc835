// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Disks;
using Fleece.Qemu.Bitmaps;
using Fleece.Qemu.Qmp;

namespace Fleece.Qemu.Tests.Bitmaps;

/// <summary>Which bitmap a session pins, which one records, and how the turn ends.</summary>
public sealed class QemuBitmapTurnTests
{
    private static readonly Guid Instant = Guid.Parse("11111111-2222-3333-4444-555555555555");
    private static readonly string Baseline = $"{Guid.Parse("aaaaaaaa-2222-3333-4444-555555555555"):N}";

    private static string Pending(string name) => $"{name}@{Instant:N}+";

    [Fact]
    public void A_bitmap_without_a_baseline_shows_the_whole_disk_and_counts_from_a_success()
    {
        QemuBitmapTurn turn = Prepare([Bitmap("daily")], "daily")!;

        Assert.Null(turn.LimitedBy);
        Assert.Equal(["block-dirty-bitmap-add", "block-dirty-bitmap-disable"], Types(turn.AtInstant));
        (var actions, bool counts) = turn.End(Node(Bitmap("daily", isRecording: false), Bitmap(Pending("daily"))), isSuccess: true);
        Assert.True(counts);
        Assert.Equal(
            ["block-dirty-bitmap-add", "block-dirty-bitmap-merge", "block-dirty-bitmap-remove", "block-dirty-bitmap-remove"],
            Types(actions));
        Assert.Equal($"daily@{Instant:N}", (string?)actions[0]["data"]!["name"]);
    }

    [Fact]
    public void A_bitmap_with_a_baseline_limits_the_snapshot_and_records_again_after_a_failure()
    {
        string name = $"daily@{Baseline}";
        QemuBitmapTurn turn = Prepare([Bitmap(name)], "DAILY")!;

        Assert.Equal((name, Baseline), (turn.LimitedBy, $"{turn.BaselineId:N}"));
        (var actions, bool counts) = turn.End(Node(Bitmap(name, isRecording: false), Bitmap(Pending("daily"))), isSuccess: false);
        Assert.False(counts);
        Assert.Equal(["block-dirty-bitmap-enable", "block-dirty-bitmap-merge", "block-dirty-bitmap-remove"], Types(actions));
    }

    [Fact]
    public void A_disabled_bitmap_only_limits_and_counts_from_nothing()
    {
        QemuBitmapTurn turn = Prepare([Bitmap($"daily@{Baseline}", isRecording: false)], "daily")!;

        Assert.Equal((null, $"daily@{Baseline}"), (turn.BaselineId, turn.LimitedBy));
        Assert.Empty(turn.AtInstant);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_pending_bitmap_that_is_gone_or_lost_changes_does_not_count(bool isGone)
    {
        QemuBitmapTurn turn = Prepare([Bitmap("daily")], "daily")!;
        QemuBitmapReply lost = Bitmap(Pending("daily"), isRecording: false) with { IsInconsistent = true };

        (var actions, bool counts) = turn.End(
            isGone ? Node(Bitmap("daily")) : Node(Bitmap("daily", isRecording: false), lost), isSuccess: true);

        Assert.False(counts);
        Assert.Equal(isGone ? [] : ["block-dirty-bitmap-remove", "block-dirty-bitmap-remove"], Types(actions));
    }

    [Fact]
    public void A_bitmap_that_can_not_be_pinned_is_refused_with_the_reason()
    {
        Assert.Equal(DiskErrors.BitmapUnknown, Refusal([], "daily", null));
        Assert.Equal(DiskErrors.BitmapBusy, Refusal([Bitmap("daily") with { IsBusy = true }], "daily", null));
        Assert.Equal(DiskErrors.BitmapBusy, Refusal([Bitmap("daily", isRecording: false), Bitmap(Pending("daily"))], "daily", null));
        Assert.Equal(
            DiskErrors.BitmapUntrusted, Refusal([Bitmap("daily", isRecording: false) with { IsInconsistent = true }], "daily", null));
        Assert.Equal(DiskErrors.BitmapNameInUse, Refusal([Bitmap($"daily@{Baseline}"), Bitmap($"daily@{Instant:N}")], "daily", null));
        Assert.Equal(
            DiskErrors.BitmapNameInUse,
            Refusal([Bitmap($"daily@{Baseline}"), Bitmap($"daily@{Instant:N}", isRecording: false)], $"daily@{Baseline}", null));
        Assert.Equal(DiskErrors.BitmapNameInUse, Refusal([Bitmap("daily")], null, "Daily"));
        Assert.Equal(DiskErrors.BitmapNameInUse, Refusal([Bitmap(Pending("daily"))], null, "daily"));
        Assert.Equal(BlockErrors.InvalidArgument, Refusal([], null, $"daily@{Baseline}"));
        Assert.Equal(BlockErrors.InvalidArgument, Refusal([Bitmap("daily", isRecording: false)], "daily", "next"));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Beside_a_bitmap_without_an_instant_the_one_that_counts_is_pinned_and_the_other_stays_as_it_is(bool isRecording)
    {
        string counting = $"daily@{Baseline}";
        QemuBitmapTurn turn = Prepare([Bitmap("daily", isRecording), Bitmap(counting)], "daily")!;

        Assert.Equal((counting, Baseline), (turn.LimitedBy, $"{turn.BaselineId:N}"));
        QemuNodeReply during =
            Node(Bitmap("daily", isRecording), Bitmap(counting, isRecording: false), Bitmap(Pending("daily")));
        foreach (bool isSuccess in new[] { true, false })
        {
            (var actions, bool counts) = turn.End(during, isSuccess);
            Assert.Equal(isSuccess, counts);
            Assert.Contains(actions, action => (string?)action["data"]!["name"] == counting);
            Assert.DoesNotContain(
                actions, action => (string?)action["data"]!["name"] == "daily" || (string?)action["data"]!["target"] == "daily");
        }
    }

    [Fact]
    public void Of_two_instants_the_one_that_is_named_in_full_is_pinned()
    {
        string counting = $"daily@{Baseline}";
        QemuBitmapReply[] bitmaps = [Bitmap(counting), Bitmap($"daily@{Guid.NewGuid():N}")];

        Assert.Equal(counting, Prepare(bitmaps, counting)!.LimitedBy);
        BlockException error = Assert.Throws<BlockException>(() => Of(bitmaps).Restart(counting));
        Assert.All(bitmaps, bitmap => Assert.Contains(bitmap.Name, error.Message, StringComparison.Ordinal));
    }

    [Fact]
    public void One_that_begins_anew_takes_the_place_of_the_one_beside_it_and_one_that_a_session_uses_is_not_removed()
    {
        string counting = $"daily@{Baseline}";

        BitmapChange change = Of([Bitmap("daily", isRecording: false), Bitmap(counting)]).Restart(counting);

        Assert.Equal("daily", change.ExactName);
        Assert.Equal(
            ["block-dirty-bitmap-remove", "block-dirty-bitmap-enable", "block-dirty-bitmap-clear"],
            Types([.. change.Transactions.SelectMany(actions => actions)]));
        Assert.Equal("daily", Of([Bitmap("daily"), Bitmap(counting)]).Remove("daily").ExactName);
        Assert.Equal(
            DiskErrors.BitmapBusy,
            Assert.Throws<BlockException>(
                () => Of([Bitmap(counting, isRecording: false), Bitmap(Pending("daily"))]).Remove(counting)).Kind);
    }

    [Fact]
    public void One_that_is_inconsistent_says_so_and_is_not_taken_for_disabled()
    {
        GuestBitmap bitmap = Of([Bitmap("daily", isRecording: false) with { IsInconsistent = true }]).All[0];

        Assert.True(bitmap.Describe() is { IsEnabled: true, Fault: not null });
        Assert.Equal(2, Of([bitmap.Reply]).Restart("daily").Transactions.Count);
    }

    [Fact]
    public void A_bitmap_that_begins_anew_loses_itBaseline()
    {
        BitmapChange change = Of([Bitmap($"daily@{Baseline}")]).Restart($"daily@{Baseline}");

        Assert.Equal("daily", change.ExactName);
        Assert.Equal(["block-dirty-bitmap-add", "block-dirty-bitmap-remove"], Types(Assert.Single(change.Transactions)));
    }

    private static string Refusal(QemuBitmapReply[] bitmaps, string? pinned, string? next) =>
        Assert.Throws<BlockException>(() => QemuBitmapTurn.Prepare(Of(bitmaps), Instant, pinned, next)).Kind;

    private static QemuBitmapTurn? Prepare(QemuBitmapReply[] bitmaps, string pinned) =>
        QemuBitmapTurn.Prepare(Of(bitmaps), Instant, pinned, null);

    private static GuestBitmaps Of(QemuBitmapReply[] bitmaps) => new("web.virtio0", Node(bitmaps), isPersistent: true);

    private static QemuNodeReply Node(params QemuBitmapReply[] bitmaps) =>
        new("one", "qcow2", false, 1 << 20, "/vm/disk", 65536, "1.1", bitmaps);

    private static QemuBitmapReply Bitmap(string name, bool isRecording = true) => new(name, 65536, 0, isRecording, false, true, false);

    private static string[] Types(IReadOnlyList<System.Text.Json.Nodes.JsonObject> actions) =>
        [.. actions.Select(action => (string)action["type"]!)];
}

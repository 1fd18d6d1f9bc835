// SPDX-License-Identifier: MIT
using Fleece.Block.Files;
using Fleece.Disks.Bitmaps.Sidecars;
using Fleece.TestKit;

namespace Fleece.Disks.Tests.Bitmaps;

public sealed class SidecarTests : IDisposable
{
    private const long DiskBytes = 4096;

    private readonly TempFolder _folder = new();
    private readonly string _image;

    public SidecarTests()
    {
        _image = _folder.NewFile();
        File.WriteAllBytes(_image, new byte[DiskBytes]);
    }

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void A_long_reason_of_every_bitmap_is_kept_shortened()
    {
        string reason = new('r', 5000);

        Make(isInUse: true, [.. Enumerable.Range(0, SidecarDirectory.MaximumBitmaps).Select(i => Entry($"bitmap-{i}") with { Fault = reason })]);

        SidecarDirectory read = Read();
        Assert.Equal(SidecarDirectory.MaximumBitmaps, read.Entries.Count);
        Assert.All(read.Entries, entry => Assert.InRange(entry.Fault.Length, 200, 512));
        Assert.All(read.Entries, entry => Assert.StartsWith(entry.Fault, reason, StringComparison.Ordinal));
    }

    // A sealed file keeps the image's own bitmaps in their place; one with a successor that is pending has what they have not.
    [Theory]
    [InlineData(false, false)]
    [InlineData(true, true)]
    public void A_claim_opens_a_sealed_file_again_where_one_of_its_bitmaps_is_pending(bool isPending, bool isInUse)
    {
        Make(isInUse: false, Entry("daily"), Entry("next") with { IsPending = isPending });

        Sidecar.Claim(_image, FileEvidence.Read(_image));

        Assert.Equal(isInUse, Read().IsInUse);
    }

    [Fact]
    public void A_claim_leaves_the_file_of_an_image_that_was_changed_without_it()
    {
        Make(isInUse: false, Entry("daily") with { IsPending = true });
        File.SetLastWriteTimeUtc(_image, DateTime.UtcNow.AddMinutes(-1));

        Sidecar.Claim(_image, FileEvidence.Read(_image));

        Assert.False(Read().IsInUse);
    }

    private static SidecarEntry Entry(string name) => new() { Name = name, GranularityBytes = 65536, DataOffsetBytes = 0 };

    private void Make(bool isInUse, params SidecarEntry[] entries)
    {
        using Sidecar made = Sidecar.CreateBeside(_image, new SidecarDirectory
        {
            IsInUse = isInUse,
            BootId = BootId.Current,
            DiskLengthBytes = DiskBytes,
            Image = FileEvidence.Read(_image),
            Entries = entries,
        });
        made.TakePlace();
    }

    private SidecarDirectory Read()
    {
        using Sidecar sidecar = Sidecar.Open(_image, isReadOnly: true)!;
        return sidecar.Directory;
    }
}

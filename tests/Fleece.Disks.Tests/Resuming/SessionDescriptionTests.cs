// SPDX-License-Identifier: MIT
using System.Text;
using Fleece.Disks.Resuming;

namespace Fleece.Disks.Tests.Resuming;

/// <summary>Descriptions that would size an allocation or lead to a file as no Fleece writes it.</summary>
public sealed class SessionDescriptionTests : IDisposable
{
    private readonly LogRig _rig = new();

    public void Dispose() => _rig.Dispose();

    [Fact]
    public void A_description_comes_back()
    {
        SessionDescription description = _rig.Describe("local", "offsite");

        SessionDescription? read = Parse(description);

        Assert.NotNull(read);
        Assert.True(SessionDescriptionFormat.AreEqual(description with { WrittenBy = read.WrittenBy }, read));
    }

    [Fact]
    public void One_that_is_not_sound_is_none()
    {
        SessionDescription sound = _rig.Describe();

        Assert.Null(Parse(sound with { DiskSizeBytes = 0 }));
        Assert.Null(Parse(sound with { DiskSizeBytes = long.MaxValue }));
        Assert.Null(Parse(sound with { GranuleSizeBytes = 256 }));
        Assert.Null(Parse(sound with { GranuleSizeBytes = 4 * 1024 * 1024 }));
        Assert.Null(Parse(sound with { GranuleSizeBytes = 4096 + 512 }));
        Assert.Null(Parse(sound with { ImagePath = "vm.raw" }));
        Assert.Null(Parse(sound with { TempPath = "vm.temp" }));
        Assert.Null(SessionDescriptionFormat.Parse(Encoding.UTF8.GetBytes("null")));
    }

    private static SessionDescription? Parse(SessionDescription description) =>
        SessionDescriptionFormat.Parse(SessionDescriptionFormat.Encode(description));
}

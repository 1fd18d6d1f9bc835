// SPDX-License-Identifier: MIT
using Fleece.Hosting.State;
using Fleece.TestKit;

namespace Fleece.Hosting.Tests.State;

/// <summary>An image that moved or changed while no host watched it.</summary>
public sealed class ImageTraceTests : IDisposable
{
    private readonly TempFolder _folder = new();

    private string ImagePath => _folder.File("web.raw");

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void An_image_that_is_as_it_was_has_no_news(bool isClosed)
    {
        ImageTrace trace = Leave(isClosed);

        Assert.Null(trace.FindChange(ImagePath, out bool isMissing));
        Assert.False(isMissing);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void An_image_that_was_moved_is_missing(bool isClosed)
    {
        ImageTrace trace = Leave(isClosed);
        File.Move(ImagePath, _folder.File("moved.raw"));

        Assert.Contains(ImagePath, trace.FindChange(ImagePath, out bool isMissing), StringComparison.Ordinal);
        Assert.True(isMissing);
    }

    [Fact]
    public void Files_that_belong_to_an_image_that_was_moved_are_named_where_they_are_still_there()
    {
        ImageTrace trace = Leave(isClosed: false);
        File.WriteAllBytes(ImagePath + ".fleece-journal", new byte[512]);
        File.WriteAllBytes(ImagePath + ".fleece-bitmaps", new byte[512]);
        File.Move(ImagePath, _folder.File("moved.raw"));

        string change = trace.FindChange(ImagePath, out _)!;

        Assert.Contains($"'{ImagePath}.fleece-journal', '{ImagePath}.fleece-bitmaps'", change, StringComparison.Ordinal);
        Assert.DoesNotContain(".fleece-sessions", change, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Another_file_in_the_place_of_the_image_is_told(bool isClosed)
    {
        ImageTrace trace = Leave(isClosed);
        File.WriteAllBytes(_folder.File("restored.raw"), new byte[512]);
        File.Move(_folder.File("restored.raw"), ImagePath, overwrite: true);

        Assert.Contains("Another file", trace.FindChange(ImagePath, out bool isMissing), StringComparison.Ordinal);
        Assert.False(isMissing);
    }

    [Fact]
    public void A_change_of_an_image_that_was_closed_is_told()
    {
        ImageTrace trace = Leave(isClosed: true);
        File.SetLastWriteTimeUtc(ImagePath, DateTime.UtcNow.AddHours(1));

        Assert.Contains("was changed", trace.FindChange(ImagePath, out _), StringComparison.Ordinal);
    }

    // The guest changed it before the host was killed.
    [Fact]
    public void A_change_of_an_image_that_was_never_closed_is_no_news()
    {
        ImageTrace trace = Leave(isClosed: false);
        File.WriteAllBytes(ImagePath, new byte[1024]);

        Assert.Null(trace.FindChange(ImagePath, out _));
    }

    [Fact]
    public void An_export_and_a_file_that_is_not_there_leave_no_trace()
    {
        Assert.Null(ImageTrace.Of("nbd://host/web", isClosed: true));
        Assert.Null(ImageTrace.Of(_folder.File("none"), isClosed: true));
    }

    public void Dispose() => _folder.Dispose();

    private ImageTrace Leave(bool isClosed)
    {
        File.WriteAllBytes(ImagePath, new byte[512]);
        return ImageTrace.Of(ImagePath, isClosed)!;
    }
}

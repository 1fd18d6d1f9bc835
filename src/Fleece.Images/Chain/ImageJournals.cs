// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Journal;

namespace Fleece.Images.Chain;

/// <summary>Tells of open images whether a killed process loses acknowledged changes of them.</summary>
internal static class ImageJournals
{
    /// <summary>The journal of an image, as the image tells of it.</summary>
    /// <param name="image">A node that <see cref="Image.OpenAsync"/> or <see cref="ImageOnNode"/> gave, with no filter over it.</param>
    /// <param name="format">Its format; null for an export.</param>
    public static IJournaledImage Of(IBlockNode image, ImageFormat? format) => (image, format) switch
    {
        (IJournaledImage journaled, _) => journaled,
        (ImageOnThreads, _) or (_, null) => Without.OnExport,
        _ => Without.Need,
    };

    /// <summary>Removes the journal that an image with <see cref="ImageOpenOptions.LeavesJournal"/> has left when it was closed.</summary>
    public static void RemoveClosed(string imagePath) => JournalOpening.RemoveClosed(imagePath);

    /// <summary>Sees to it, before the image is opened, that a journal is beside it: one that says that it was closed in order.</summary>
    public static void PutClosed(string imagePath, ImageFormat format) => JournalOpening.PutClosed(imagePath, format);

    // Raw images have no tables; images that an adapter reads do not change.
    private sealed class Without(string? whyNot) : IJournaledImage
    {
        public static readonly Without OnExport = new("it lies on an export");
        public static readonly Without Need = new(null);

        public bool SurvivesKill => whyNot is null;

        public string? WhyNot => whyNot;

        public bool HasJournalFailed => false;

        public string? LostJournal => null;

        public bool IsLostWithSystem => false;

        public string? MissingJournal => null;

        public void SettleLoss()
        {
        }

        public void Touch(long notBeforeTicks)
        {
        }
    }
}

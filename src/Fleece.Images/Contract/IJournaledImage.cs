// SPDX-License-Identifier: MIT
namespace Fleece.Images;

/// <summary>Tells whether the acknowledged changes of an open image outlive the process that made them, and not the system.</summary>
/// <remarks>A format with tables keeps the changed ones in memory until a flush. An image that was opened with
/// <see cref="ImageOpenOptions.KeepsJournal"/> has them in a file beside it too (docs/formats/journal.md).
/// <para>Threading. Any thread, while the image is open.</para></remarks>
internal interface IJournaledImage
{
    /// <summary>True while a process that is killed loses no acknowledged change. It can become false while the image is open.</summary>
    bool SurvivesKill { get; }

    /// <summary>Why not, as a part of a sentence; null while it does.</summary>
    string? WhyNot { get; }

    /// <summary>True when the image was to have a journal and it could not be made, or was given up: opened anew, the image may have one.
    /// </summary>
    bool HasJournalFailed { get; }

    /// <summary>Why the journal that lay beside the image when it was opened did not hold, as a part of a sentence: changes that an earlier
    /// process acknowledged and never flushed may be lost. Null when there was none, or it held.</summary>
    string? LostJournal { get; }

    /// <summary>True when <see cref="LostJournal"/> is of an earlier run of the system, which ended before its processes did.</summary>
    bool IsLostWithSystem { get; }

    /// <summary>Says that no journal of this image lay beside it when it was opened, as a part of a sentence: where a process had kept one
    /// and did not end in order, its changes may be lost. Null when there was one.</summary>
    string? MissingJournal { get; }

    /// <summary>Says in the new journal that <see cref="LostJournal"/> and <see cref="MissingJournal"/> are noted where they matter. Until
    /// then an opener that follows a killed process reports them too.</summary>
    void SettleLoss();

    /// <summary>Sets the time at which the journal was last changed to now. The next opener believes a journal only if the image was not
    /// changed much later, so this is due at least once a second while guests write.</summary>
    /// <param name="notBeforeTicks">When the image was changed last, where that may lie ahead of the clock; else 0.</param>
    void Touch(long notBeforeTicks);
}

// SPDX-License-Identifier: MIT
using Fleece.Block.CopyBeforeWrite;

namespace Fleece.Block.DirtyBitmaps;

/// <summary>Hears of the changes that mark something in a bitmap for the first time.</summary>
/// <remarks>Threading. Called under the bitmap's lock, on the thread of a guest's request, so it must be quick. Errors. None.</remarks>
internal interface IFirstMarks
{
    /// <summary>A change is about to mark a run.</summary>
    /// <param name="marked">The marks before it. Another change may have marked all of the run meanwhile.</param>
    /// <param name="run">The units of the change, marked before or not.</param>
    void NoteMarks(GranuleMap marked, GranuleRun run);
}

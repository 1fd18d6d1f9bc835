// SPDX-License-Identifier: MIT
namespace Fleece.Block.DirtyBitmaps;

/// <summary>Where the bits of one bitmap survive the process: in pages, each stored as a whole.</summary>
/// <remarks>
/// Threading. Called under the bitmap's lock, one call at a time. Errors. None: a journal that can't keep what it is given
/// remembers so, because the guest's write must not suffer from it.
/// </remarks>
internal interface IBitmapJournal
{
    /// <summary>Bytes of the bitmap in a page.</summary>
    const int PageBytes = 4088;

    /// <summary>
    /// Room for the bits of one page, <see cref="PageBytes"/> long: bit i of it is bit i % 8 of byte i / 8. The bitmap fills it before each
    /// <see cref="Store"/>, which may change it.
    /// </summary>
    Span<byte> Page { get; }

    /// <summary>Keeps <see cref="Page"/> as the bitmap's page of that number, counted from 0. It returns when the bits would survive
    /// the end of the process.</summary>
    void Store(long pageIndex);
}

/// <summary>Leaves a mark that the image is about to change, so that a later change by somebody else can be told from it.</summary>
/// <remarks>Threading. Any thread, at once. Errors. None, as for <see cref="IBitmapJournal"/>. It is called for every change, so
/// most calls must cost next to nothing.</remarks>
internal interface IChangeWitness
{
    /// <summary>A guest's change, or what the image keeps back of earlier ones, goes to its file next.</summary>
    void BeforeChange();
}

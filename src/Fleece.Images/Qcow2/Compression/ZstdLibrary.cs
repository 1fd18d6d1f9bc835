// SPDX-License-Identifier: MIT
using System.Reflection;
using System.Runtime.Loader;

namespace Fleece.Images.Qcow2.Compression;

/// <summary>The functions of ZstdSharp that Fleece calls, in a load context of its own.</summary>
/// <remarks>
/// <para>A process has one default load context, and PowerShell loads every module into it: the first ZstdSharp there is
/// everybody's, of whatever version. So Fleece's lies in a folder of its own, where nobody's probing finds it, is loaded
/// into a private context and is never named at compile time: these are addresses of zstd's plain functions, whose
/// parameters are pointers, lengths and the contexts as opaque pointers (zstd.h, "Simple Core API" and "Explicit
/// context").</para>
/// <para>Threading. Immutable; a zstd context serves one call at a time.</para>
/// </remarks>
internal sealed unsafe class ZstdLibrary
{
    /// <summary>The folder beside Fleece.Images.dll.</summary>
    public const string FolderName = "dependencies";

    /// <summary>The file in it.</summary>
    public const string FileName = "ZstdSharp.dll";

    public readonly delegate*<void*> CreateCompressor;
    public readonly delegate*<void*, void*, nuint, void*, nuint, int, nuint> Compress;
    public readonly delegate*<void*, nuint> FreeCompressor;
    public readonly delegate*<void*> CreateDecompressor;
    public readonly delegate*<void*, void*, nuint, void*, nuint, nuint> Decompress;
    public readonly delegate*<void*, nuint> FreeDecompressor;
    public readonly delegate*<void*, nuint, nuint> FindFrameBytes;
    public readonly delegate*<nuint, bool> IsError;

    private ZstdLibrary(Assembly assembly)
    {
        Type methods = assembly.GetType("ZstdSharp.Unsafe.Methods", throwOnError: true)!;
        CreateCompressor = (delegate*<void*>)Find(methods, "ZSTD_createCCtx", 0);
        Compress = (delegate*<void*, void*, nuint, void*, nuint, int, nuint>)Find(methods, "ZSTD_compressCCtx", 6);
        FreeCompressor = (delegate*<void*, nuint>)Find(methods, "ZSTD_freeCCtx", 1);
        CreateDecompressor = (delegate*<void*>)Find(methods, "ZSTD_createDCtx", 0);
        Decompress = (delegate*<void*, void*, nuint, void*, nuint, nuint>)Find(methods, "ZSTD_decompressDCtx", 5);
        FreeDecompressor = (delegate*<void*, nuint>)Find(methods, "ZSTD_freeDCtx", 1);
        FindFrameBytes = (delegate*<void*, nuint, nuint>)Find(methods, "ZSTD_findFrameCompressedSize", 2);
        IsError = (delegate*<nuint, bool>)Find(methods, "ZSTD_isError", 1);
    }

    /// <summary>Where the library is looked for.</summary>
    public static string ExpectedPath { get; } = Path.Combine(
        Path.GetDirectoryName(typeof(ZstdLibrary).Assembly.Location) is { Length: > 0 } folder ? folder : AppContext.BaseDirectory,
        FolderName,
        FileName);

    /// <summary>Loads the library into a context of its own.</summary>
    /// <exception cref="IOException">The file is not there or can't be read.</exception>
    /// <exception cref="BadImageFormatException">It is no assembly.</exception>
    /// <exception cref="TypeLoadException">It is not ZstdSharp.</exception>
    /// <exception cref="MissingMethodException">It is a ZstdSharp that lacks a function.</exception>
    public static ZstdLibrary Load(string path) =>
        new(new AssemblyLoadContext("Fleece.Zstd").LoadFromAssemblyPath(path));

    private static void* Find(Type methods, string name, int parameterCount)
    {
        MethodInfo? method = methods.GetMethod(name, BindingFlags.Static | BindingFlags.Public);
        return method?.GetParameters().Length == parameterCount
            ? (void*)method.MethodHandle.GetFunctionPointer()
            : throw new MissingMethodException(methods.FullName, name);
    }
}

// Declares nothing: c10d includes this header but uses none of it in its own.
#pragma once
